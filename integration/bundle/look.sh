#!/bin/sh
# What a container sees of itself. Runs inside, with nothing but busybox.

row() { printf '%-13s %s\n' "$1" "$2"; }
status() { awk -v key="$1:" '$1 == key { print $2 }' /proc/$$/status; }

# The names of the bits in a hexadecimal mask, lowest first (linux/capability.h).
capabilities() {
	mask=$((0x$1))
	for name in chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable \
		net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot \
		sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease \
		audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read \
		perfmon bpf checkpoint_restore; do
		[ $((mask & 1)) = 0 ] || echo $name
		mask=$((mask >> 1))
	done | xargs
}

set -- /proc/[0-9]*
row "process" "pid $$, one of $#"
row "user" "$(id)"
row "hostname" "$(hostname)"
row "network" "$(cd /sys/class/net && echo *)"
row "cgroup" "$(tail -n 1 /proc/self/cgroup)"
row "capabilities" "$(capabilities "$(status CapEff)")"
row "new privs" "$([ "$(status NoNewPrivs)" = 1 ] && echo "can't be gained" || echo "can be gained")"
case $(status Seccomp) in
2) row "seccomp" "a filter" ;;
*) row "seccomp" "none asked for" ;;
esac
# The number is the namespace's: compare with `ls -l /proc/self/ns` on the host.
label="namespaces"
for namespace in /proc/self/ns/*; do
	case $namespace in *_for_children) continue ;; esac
	readlink "$namespace"
done | xargs -n 4 | while read -r line; do
	row "$label" "$line"
	label=""
done
label="mounts"
while read -r _ target type options _; do
	flags=$(echo "$options" | tr , '\n' | grep -xE 'ro|rw|nosuid|nodev|noexec' | xargs)
	row "$label" "$(printf '%-17s %-9s %s' "$target" "$type" "$flags")"
	label=""
done </proc/self/mounts
