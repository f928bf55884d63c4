# Run in the node's machine, in mounts of its own: the agent refuses to start without /proc/modules, which a kernel
# without modules does not have. It gets a /proc in which every entry leads to the real one, and an empty list of modules.
set -eu
mkdir -p /run/proc
mount --rbind /proc /run/proc
mount -t tmpfs proc /proc
# Its own number is among them, and stays its own through exec.
for entry in /run/proc/*; do ln -s "$entry" "/proc/${entry##*/}"; done
[ -e /proc/modules ] || : > /proc/modules
exec "$@"
