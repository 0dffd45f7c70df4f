# The lab's holder, PID 1 of a namespace of its own: an outer network that the nodes hang on, then the nodes.
# Runs in fresh network, mount and PID namespaces, so that everything ends with it; /proc is still the
# machine's. Argument: the lab's folder. Stdin: one node a line: name, IPv4, IPv6, port of the outer bridge.
set -eu
folder=$1
here=$(dirname "$0")
trap 'exit 0' TERM INT
trap 'test -e "$folder/pid/holder" || echo 0 >"$folder/pid/holder"' EXIT

# a fixed hardware address: a bridge that changes it forgets its neighbours, and so the black hole
ip -batch - <<BATCH
link set lo up
link add br0 address 02:00:0a:c8:00:01 type bridge
link set br0 up
address add 10.200.0.1/16 dev br0
address add fd10:200::1/64 dev br0 nodad
neighbour add 10.200.250.2 lladdr 02:00:00:00:00:99 dev br0 nud permanent
BATCH
mount -t tmpfs -o mode=0755 tmpfs "$folder/upper"
# layers must not contain each other, and the machine's root contains the lab's folder
cp -a "$folder/golden" "$folder/upper/golden"

read -r holder rest </proc/self/stat
while read -r name address address6 port; do
    unshare --net --mount --pid --uts --ipc --fork --kill-child --propagation private -- \
        sh "$here/node.sh" "$folder" "$holder" "$name" "$address" "$address6" "$port" \
        </dev/null >"$folder/log/$name" 2>&1 &
done
echo "$holder" >"$folder/pid/holder.new"
mv "$folder/pid/holder.new" "$folder/pid/holder"

sleep infinity &
while :; do wait || :; done
