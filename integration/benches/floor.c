// What the kernel must do for a container, and nothing else: one clone3 into a cgroup with six new namespaces, the
// default mounts, devices, masked and read-only paths, capabilities, pivot_root, execve, wait, rmdir. The arguments
// are the root file system and a new cgroup. Everything is fixed; a failure ends with the line that failed.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call)                                                                                                     \
	do {                                                                                                               \
		if ((long)(call) < 0) {                                                                                        \
			dprintf(2, "floor: line %d: %m: %s\n", __LINE__, #call);                                                   \
			_exit(1);                                                                                                  \
		}                                                                                                              \
	} while (0)

static int try_mask(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return 0;
	if (S_ISDIR(st.st_mode))
		return mount("tmpfs", path, "tmpfs", MS_RDONLY, "size=0k");
	return mount("/dev/null", path, NULL, MS_BIND, NULL);
}

static int try_read_only(const char *path)
{
	if (access(path, F_OK) < 0)
		return 0;
	if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0)
		return -1;
	return mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
}

static void container(const char *root)
{
	static const struct { const char *path; int minor, major; } nodes[] = {
		{"dev/null", 3, 1}, {"dev/zero", 5, 1}, {"dev/full", 7, 1},
		{"dev/random", 8, 1}, {"dev/urandom", 9, 1}, {"dev/tty", 0, 5},
	};
	static const char *masked[] = {"proc/acpi", "proc/asound", "proc/kcore", "proc/keys", "proc/latency_stats",
		"proc/timer_list", "proc/timer_stats", "proc/sched_debug", "sys/firmware", "proc/scsi"};
	static const char *read_only[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"};

	MUST(unshare(CLONE_NEWCGROUP));
	MUST(sethostname("floor", 5));
	MUST(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
	MUST(mount(root, root, NULL, MS_BIND | MS_REC, NULL));
	MUST(chdir(root));
	MUST(mount("proc", "proc", "proc", 0, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"));
	MUST(mkdir("dev/shm", 0755));
	MUST(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
	MUST(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL));
	MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL));
	umask(0);
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
		MUST(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
	umask(022);
	MUST(symlink("/proc/self/fd", "dev/fd"));
	MUST(symlink("/proc/self/fd/0", "dev/stdin"));
	MUST(symlink("/proc/self/fd/1", "dev/stdout"));
	MUST(symlink("/proc/self/fd/2", "dev/stderr"));
	MUST(symlink("pts/ptmx", "dev/ptmx"));
	for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++)
		MUST(try_read_only(read_only[i]));
	for (size_t i = 0; i < sizeof masked / sizeof *masked; i++)
		MUST(try_mask(masked[i]));
	MUST(mount(NULL, root, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	MUST(chdir(root)); // the mount, not what it covers
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	MUST(setsid());
	for (int cap = 0; cap <= 40; cap++)
		if (cap != CAP_KILL && cap != CAP_NET_BIND_SERVICE && cap != CAP_AUDIT_WRITE)
			MUST(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
	struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
	unsigned keep = 1u << CAP_KILL | 1u << CAP_NET_BIND_SERVICE | 1u << CAP_AUDIT_WRITE;
	struct __user_cap_data_struct data[2] = {{keep, keep, 0}, {0, 0, 0}};
	MUST(syscall(SYS_capset, &header, data));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(execl("/bin/true", "true", NULL));
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		dprintf(2, "usage: floor ROOT CGROUP\n");
		return 2;
	}
	MUST(mkdir(argv[2], 0755));
	int cgroup = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	MUST(cgroup);
	struct clone_args args = {
		.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_INTO_CGROUP,
		.exit_signal = SIGCHLD,
		.cgroup = (unsigned long long)cgroup,
	};
	long pid = syscall(SYS_clone3, &args, sizeof args);
	MUST(pid);
	if (pid == 0)
		container(argv[1]);
	int status;
	MUST(waitpid((int)pid, &status, 0));
	MUST(rmdir(argv[2]));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
