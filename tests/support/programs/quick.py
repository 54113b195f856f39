"""The program itself with less patience: a child is silent, or stubborn, after 0.3 s."""

from entrypoint.process import child

vars(child).update(SILENT_S=0.3, SILENT_AGAIN_S=0.3, GRACE_S=0.3)

from entrypoint.__main__ import main  # noqa: E402  as it starts: what it imports is patched

main()
