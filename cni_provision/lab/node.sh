# One lab node, PID 1 of a namespace of its own: network, root, mounts, then the SSH server in its place.
# Runs in fresh network, mount, PID, UTS and IPC namespaces; /proc is still the machine's.
# Arguments: the lab's folder, the holder's process id, name, IPv4, IPv6, port of the outer bridge.
set -eu
folder=$1 holder=$2 name=$3 address=$4 address6=$5 port=$6
trap 'echo 0 >"$folder/pid/$name"' EXIT
read -r self rest </proc/self/stat

# `eth0` is a port of the outer bridge, made from there
nsenter --net="/proc/$holder/ns/net" ip -batch - <<BATCH
link add $port type veth peer name eth0 netns /proc/$self/ns/net
link set $port master br0 up
BATCH
ip -batch - <<BATCH
link set lo up
link set eth0 up
address add $address/16 dev eth0
address add $address6/64 dev eth0 nodad
route add default via 10.200.0.1
BATCH

# the root: the lab's own layer over the machine's, changes go to a tmpfs that ends with the lab
layer=$folder/upper/$name
mkdir -p "$layer/changes" "$layer/work" "$layer/root"
mount -t overlay overlay -o "lowerdir=$folder/upper/golden:/,upperdir=$layer/changes,workdir=$layer/work" "$layer/root"
cd "$layer/root"
mkdir -p old-root
# a separate /usr is not part of the overlay
if mountpoint -q /usr; then mount --rbind /usr usr; fi
mount -t proc proc proc
# of the kernel's settings only the network's are per node; the others are the machine's
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net
# a fresh sysfs shows the node's own interfaces, but loses the control groups
mount -t sysfs sysfs sys
if [ -d /sys/fs/cgroup ]; then mount --rbind /sys/fs/cgroup sys/fs/cgroup; fi
mount --rbind /dev dev
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
if [ -c dev/ptmx ]; then mount --bind dev/pts/ptmx dev/ptmx; fi
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for place in run mnt; do mount -t tmpfs -o mode=0755 tmpfs "$place"; done
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p run/sshd
size=$(cat "$folder/opt_size")
if [ -n "$size" ]; then mount -t tmpfs -o "mode=0755,size=$size" tmpfs opt; fi

hostname "$name"
echo "$name" >etc/hostname
echo "$self" >"$folder/pid/$name.new"
mv "$folder/pid/$name.new" "$folder/pid/$name"
pivot_root . old-root
cd /
umount -l /old-root
rmdir /old-root
exec /usr/sbin/sshd -D -e -f /etc/cni-provision-lab/sshd_config -h "/etc/cni-provision-lab/host-keys/$name"
