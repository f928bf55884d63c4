# Run by unshare(1) as the first process of a machine of its own: own mounts, own network, own process ids. What is
# mounted, linked or attached here is gone with the last process in it. From the environment: STATE, the stack's folder;
# PODS, the node's part of it; API_PORT, where the API server listens; POD_NETWORK, NODE_ADDRESS, GATEWAY_ADDRESS,
# and OUTSIDE, addresses of the world beyond.
set -eu
say() { echo "this machine cannot hold a node with real pods: $1" >&2; exit 1; }

# A node writes to folders whose places are fixed: into memory, but for the stack's own folder.
mount -t tmpfs node /run
mkdir -p /run/netns /run/lock /run/stack /run/written /run/work
mount --bind "$STATE" /run/stack
mount -t overlay -o lowerdir=/var/lib,upperdir=/run/written,workdir=/run/work node /var/lib ||
  say "no overlay filesystem can be mounted"
mount --bind /run/stack "$STATE"
mount -t tmpfs node /var/log
mount -t bpf bpf /sys/fs/bpf || say "no bpf filesystem can be mounted at /sys/fs/bpf"
[ -d /sys/fs/cgroup/cpu ] || [ -f /sys/fs/cgroup/cgroup.controllers ] || say "no cgroups are mounted at /sys/fs/cgroup"

# What the kubelet and the agent want of the kernel as a whole: they find it so, and change nothing of the real machine.
pretend() {
  [ -e "/proc/sys/$1" ] || return 0
  mkdir -p /run/sys
  file="/run/sys/$(echo "$1" | tr / .)"
  echo "$2" > "$file"
  mount --bind "$file" "/proc/sys/$1"
}
pretend vm/overcommit_memory 1
pretend vm/panic_on_oom 0
pretend kernel/panic 10
pretend kernel/panic_on_oops 1
pretend kernel/keys/root_maxkeys 1000000
pretend kernel/keys/root_maxbytes 25000000
pretend kernel/unprivileged_bpf_disabled 1
pretend kernel/timer_migration 0

# node ── uplink ── downlink ── outside
ip link set lo up
ip netns add outside
ip link add uplink type veth peer name downlink netns outside || say "no network interfaces can be made"
ip address add "$NODE_ADDRESS/24" dev uplink
ip link set uplink up
ip -n outside link set lo up
ip -n outside address add "$GATEWAY_ADDRESS/24" dev downlink
for address in $OUTSIDE; do ip -n outside address add "$address/32" dev lo; done
ip -n outside link set downlink up
ip -n outside route add "$POD_NETWORK" via "$NODE_ADDRESS"
ip route add default via "$GATEWAY_ADDRESS"
echo 1 > /proc/sys/net/ipv4/ip_forward

# As Cilium's own rule does where it may write rules ("host->any mark as from host"): by this mark its programs know what
# comes from the node itself.
iptables --append OUTPUT --match mark ! --mark 0xe00/0xf00 --jump MARK --set-xmark 0xc00/0xf00 ||
  say "the node's own packets cannot be marked (iptables)"

# The API server listens in another network: a socket in a file leads there. On the node's address, too, as where one
# machine is all of a cluster.
for address in 127.0.0.1 "$NODE_ADDRESS"; do
  socat "TCP4-LISTEN:$API_PORT,bind=$address,reuseaddr,fork,backlog=128" "UNIX-CONNECT:$PODS/api.socket" &
done

touch "$PODS/machine.ready"
# Ends of children that nobody waits for are taken note of by the kernel.
exec env --ignore-signal=CHLD sleep infinity
