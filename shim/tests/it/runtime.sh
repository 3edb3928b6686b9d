#!/bin/sh
# runtime.sh [OPTIONS] COMMAND [OPTIONS] ID: a runtime without containers, for the tests of the shim. A container is a
# process that waits for its start, and then runs the file `program` of its bundle. A file fail-COMMAND there makes a
# command fail with its text, a file wait-COMMAND makes it wait until that is gone.
set -eu
ulimit -n 1024
given="$*"
command= bundle= pid_file= process= signal=
while [ $# -gt 0 ]; do
	case $1 in
	--root) root=$2; shift ;;
	--log) log=$2; shift ;;
	--log-format | --format | --resources | --console-socket | --parent-path | --empty-ns) shift ;;
	--image-path) images=$2; shift ;;
	--work-path) work=$2; shift ;;
	--bundle) bundle=$2; shift ;;
	--pid-file) pid_file=$2; shift ;;
	--process) process=$2; shift ;;
	--*) ;;
	*)
		if [ -z "$command" ]; then command=$1
		elif [ -z "${id-}" ]; then id=$1
		else signal=$1
		fi
		;;
	esac
	shift
done
[ "$command" != features ] || { echo '{"ociVersionMin":"1.0.0"}'; exit; }
state=$root/$id
[ -n "$bundle" ] || bundle=$(cat "$state/bundle" 2>/dev/null) || bundle=$(dirname "$log")
echo "$command" >>"$bundle/calls"
while [ -e "$bundle/wait-$command" ]; do sleep 0.01; done
if [ -e "$bundle/fail-$command" ]; then
	case $command in
	checkpoint) echo "criu failed" >"$work/dump.log" ;;
	restore) echo "criu failed" >"$work/restore.log" ;;
	esac
	printf '{"level":"error","msg":"%s"}\n' "$(cat "$bundle/fail-$command")" >>"$log"
	exit 1
fi
say() {
	printf '{"level":"error","msg":"%s"}\n' "$1" >>"$log"
	exit 1
}
case $command in
create)
	mkdir -p "$state"
	echo "$bundle" >"$state/bundle"
	mkfifo "$state/start"
	{ sh -c 'read -r _ <"$0/start"; exec sh "$1/program"' "$state" "$bundle" <&3 3<&- & } 3<&0
	echo $! >"$state/pid"
	echo $! >"$pid_file"
	;;
checkpoint)
	echo "$given" >"$bundle/given"
	[ -d "$work" ]
	mkdir -p "$images"
	echo saved >"$images/state"
	case $given in
	*--leave-running*) ;;
	*)
		kill -s KILL "$(cat "$state/pid")"
		rm -r "$state"
		;;
	esac
	;;
restore)
	echo "$given" >"$bundle/given"
	[ "$(cat "$images/state")" = saved ] && [ -d "$work" ]
	mkdir -p "$state"
	echo "$bundle" >"$state/bundle"
	{ sh "$bundle/program" <&3 3<&- & } 3<&0
	echo $! >"$state/pid"
	echo $! >"$pid_file"
	;;
start) echo go >"$state/start" ;;
exec)
	line=$(sed 's/.*"args":\["\([^"]*\)"\].*/\1/' "$process")
	# Not before we have ended: a shell would wait for its child, whose parent the shim is to be.
	exec 9>"$state/lock"
	flock 9
	{ sh -c 'flock "$0" true; eval "$1"' "$state/lock" "$line" <&3 3<&- 9>&- & } 3<&0
	echo $! >"$pid_file"
	;;
kill) kill -s "$signal" "$(cat "$state/pid")" 2>/dev/null || say "container not running" ;;
pause) kill -s STOP "$(cat "$state/pid")" ;;
resume) kill -s CONT "$(cat "$state/pid")" ;;
ps) if kill -s 0 "$(cat "$state/pid")" 2>/dev/null; then echo "[$(cat "$state/pid")]"; else echo null; fi ;;
update) cat >"$bundle/update" ;;
delete)
	[ -d "$state" ] || say "container does not exist"
	kill -s KILL "$(cat "$state/pid")" 2>/dev/null || true
	rm -r "$state"
	;;
*) say "unknown command $command" ;;
esac
