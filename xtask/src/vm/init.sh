#!/bin/sh
# The guest's first and only script: mounts, modules, the live tests, one line with the result, power off.
export PATH=/bin HOME=/root
export REDIAL_BIN=/bin/redial REDIAL_TRAFFIC_BIN=/bin/traffic
# An emulated processor is some ten to thirty times slower, and its clock and timers with it.
export REDIAL_TEST_SLOWDOWN=30
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /tmp
mkdir -p /dev/shm /dev/net
echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd
echo '127.0.0.1 localhost' > /etc/hosts
ip link set lo up
for module in /modules/*.ko; do
    insmod "$module" || echo "cannot load $module"
done
. /variables.sh
echo "$BOOTED Linux $(uname -r) in $(cut -d' ' -f1 /proc/uptime) s"
failed=0
for program in /tests/*; do
    echo "guest: $program"
    "$program" --test-threads=1 "$@" || failed=$((failed + 1))
done
if [ "$failed" != 0 ]; then
    echo 'guest: last words of the kernel:'
    dmesg | tail -n 20
fi
echo "$RESULT $failed"
sync
poweroff -f
