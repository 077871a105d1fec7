#!/bin/busybox sh
# Process 1 of the virtual machine.
export PATH=/bin

run() {
    echo "@begin $1"
    shift
    "$@" < /dev/null 2>&1
    echo "@status $?"
}

furnish() {
    mount -t proc proc /proc
    mount -t sysfs sys /sys
    mkdir -p /dev/shm
    mount -t tmpfs shm /dev/shm
    chmod 1777 /tmp
    mount -t cgroup2 none /sys/fs/cgroup
    # Only a cgroup without processes can hand its controllers down.
    mkdir -p /sys/fs/cgroup/job
    echo 1 > /sys/fs/cgroup/job/cgroup.procs
    echo "+memory +pids" > /sys/fs/cgroup/cgroup.subtree_control
    ip link set lo up
}

# The processes and cgroups of suites.
left() {
    ps -o args | grep '^/suite' | grep -v grep
    find /sys/fs/cgroup -name 'pause-conformance-*'
}

# Kills a suite once it runs a program, and waits until what it left is gone.
killed() {
    /suite --image binary:/pause > /dev/null 2>&1 &
    pid=$!
    for _ in $(seq 600); do
        pidof pause > /dev/null && echo running && break
        usleep 20000
    done
    kill -9 $pid
    wait $pid 2> /dev/null
    for _ in $(seq 600); do
        # What goes while it looks is what it waits for.
        [ -z "$(left 2> /dev/null)" ] && break
        usleep 20000
    done
    left
    echo killed
}

as_user() {
    su user -c "/suite --image binary:/pause"
}

# In a cgroup of the user's own, beside which it may make others.
delegated() {
    mkdir -p /sys/fs/cgroup/user/own
    echo "+memory +pids" > /sys/fs/cgroup/user/cgroup.subtree_control
    chown -R user /sys/fs/cgroup/user
    su user -c 'echo $$ > /sys/fs/cgroup/user/own/cgroup.procs && exec /suite --image binary:/pause'
}

if [ "$1" != again ]; then
    /bin/busybox --install -s /bin
    echo user:x:1000:1000::/:/bin/sh > /etc/passwd
    mount -t devtmpfs dev /dev
    furnish
    # The kernel pivots no initramfs (pivot_root(2)).
    run initramfs /suite --image binary:/pause --filter 'startup/*'
    mkdir /new
    mount -t tmpfs -o mode=755 new /new
    cp -a /bin /etc /init /lib* /needs-* /pause /suite /tmp /new
    mkdir /new/dev /new/proc /new/sys
    mount --move /dev /new/dev
    umount /sys/fs/cgroup /sys /proc
    exec switch_root /new /init again
fi

furnish
run root /suite --image binary:/pause
run needs-16-mib /suite --image binary:/needs-16-mib --filter 'startup/*'
run needs-a-second-pid /suite --image binary:/needs-a-second-pid --filter 'startup/*'
run user as_user
# Only root may put its first process into a cgroup of its own.
chmod 666 /sys/fs/cgroup/job/cgroup.procs /sys/fs/cgroup/cgroup.procs
run delegated delegated
run killed killed
echo @end
poweroff -f
