#!/usr/bin/env bash
# Runs the quickstart with two workers, one of which is killed every second, and compares what it leaves with what a run
# without workers leaves. Usage: tests/interop/kill_workers.sh EVO [EVALUATIONS]; minutes.
set -euo pipefail
evo=$(realpath "$1")
evaluations=${2:-600}
programs=$(realpath "$(dirname "$0")/../../programs")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
for name in calm killed; do cp -r "$programs" "$place/$name"; done
cp "$evo" "$place/evo"

(cd "$place/calm" && "$place/evo" run quickstart.evo --set "evaluations=$evaluations" > printed.txt 2> told.txt)
(cd "$place/killed" && exec "$place/evo" run quickstart.evo --set "evaluations=$evaluations" --workers 2 > printed.txt 2> told.txt) &
run=$!
killed=0
while kill -0 "$run" 2> /dev/null; do
  sleep 1
  # Only workers of this run's own copy of the executable.
  worker=$(pgrep -f "^$place/evo worker --stdio" | shuf -n 1 || true)
  if [ -n "$worker" ] && kill -9 "$worker" 2> /dev/null; then killed=$((killed + 1)); fi
done
wait "$run"
for left in printed.txt fitness.svg evolved; do diff -r "$place/calm/$left" "$place/killed/$left"; done
echo "$killed workers were killed; what the runs leave is equal"
