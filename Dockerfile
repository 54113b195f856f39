# /opt/entrypoint for service images without Python, and the operator's image. See docs/image.md.
#   docker build -t gaqno/entrypoint:1-slim --target payload .
#   docker build -t gaqno/entrypoint:1-alpine --target payload --build-arg PYTHON_IMAGE=python:3.13-alpine .

# Its libc must be that of the service images.
ARG PYTHON_IMAGE=python:3.13-slim
# Debian, for its PostgreSQL client, or an image with a newer client, such as postgres:18; both need a slim PYTHON_IMAGE.
ARG OPERATOR_IMAGE=debian:trixie-slim


# The wheels, from wheels/ (`make wheels`) if that has them all, else from the package index.
FROM ${PYTHON_IMAGE} AS fetch
# The secret is optional: a certificate authority for builds behind a TLS proxy.
RUN --mount=type=bind,target=/source \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
  set -eu; \
  get() { \
    python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: \
      --require-hashes --dest=/wheels "$@" \
      --requirement=/source/requirements/runtime.txt --requirement=/source/requirements/image.txt; \
  }; \
  mkdir /wheels; \
  get --no-index --find-links=/source/wheels 2>/tmp/lacking || get || { \
    [ ! -d /source/wheels ] || { echo "wheels/ is not complete; make wheels completes it:"; cat /tmp/lacking; } >&2; \
    exit 1; \
  }

FROM scratch AS wheels
COPY --from=fetch /wheels /


FROM ${PYTHON_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
RUN --mount=type=bind,target=/source --mount=type=bind,from=wheels,target=/wheels \
  set -eu; export PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 SOURCE_DATE_EPOCH; \
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-index \
    --find-links=/wheels --no-deps --require-hashes --target=/tools --requirement=/source/requirements/image.txt; \
  python3 /source/image/payload.py /source /wheels /opt/entrypoint /tools; \
  mkdir -p /payload/opt; mv /opt/entrypoint /payload/opt/entrypoint; \
  touch -h -d "@$SOURCE_DATE_EPOCH" /payload/opt /payload


FROM scratch AS payload
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="entrypoint" \
  org.opencontainers.image.description="/opt/entrypoint, to be copied into the images of services on PostgreSQL" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
COPY --from=build /payload /


FROM ${OPERATOR_IMAGE} AS operator
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="entrypoint" \
  org.opencontainers.image.description="verify, status, create, transfer, with the PostgreSQL client" \
  org.opencontainers.image.licenses="MIT" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
RUN set -eu; \
  client=postgresql-client; \
  ! command -v pg_dump || client=; \
  apt-get update -qq; \
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ca-certificates $client; \
  rm -rf /var/lib/apt/lists/*; \
  # Operators need no su, mount and the like, and without a set-uid program nobody can become root by one.
  find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /payload /
# By number, so that runtimes that refuse root see that it is another user.
USER 10001:10001
WORKDIR /tmp
# The server's image has SIGINT, which our commands treat as Ctrl-C.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/entrypoint/bin/entrypoint"]
CMD ["--help"]
