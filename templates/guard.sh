#!/usr/bin/env bash
# Runs lines of bash under `squarecloud-snapshots guard`, for action.yml and templates/guard.yml.
#
# The argument is the folder of the program. What a user gives comes by the environment alone:
# GUARD_DATABASE, GUARD_COMMAND, GUARD_FALLBACK, GUARD_SHARED_STATE and GUARD_KEEP_KEY.
set -euo pipefail
program=$1/squarecloud-snapshots

fail() {
  echo "Error: $1" >&2
  exit 2
}

read -r -d '' -a databases <<<"$GUARD_DATABASE" || true
[[ ${#databases[@]} -gt 0 ]] || fail "no database is given."
for each in "${databases[@]}"; do
  [[ $each != -* ]] || fail "a database is an id or a name, not an option."
done
options=()
[[ -z ${GUARD_FALLBACK-} ]] || options+=("--fallback=$GUARD_FALLBACK")
[[ ${GUARD_KEEP_KEY-} != true ]] || options+=(--keep-key)
[[ -z ${GUARD_SHARED_STATE-} ]] || export SQUARECLOUD_SHARED_STATE=$GUARD_SHARED_STATE

# What `guards` shows of the command is the name of this file: the first word, and no argument.
read -r -d '' first _ <<<"$GUARD_COMMAND" || true
[[ -n $first ]] || fail "no command is given."
first=${first##*/}
[[ $first =~ ^[A-Za-z0-9_][A-Za-z0-9_.-]*$ ]] || first="command"
command=$(mktemp -d "${RUNNER_TEMP:-/tmp}/guard.XXXXXX")/$first
cat >"$command" <<'END'
#!/usr/bin/env bash
set -euo pipefail
snapshots=${SQUARECLOUD_GUARDED_BY//[^A-Za-z0-9\/_. -]/}
undo=
for each in $snapshots; do
  undo+="${undo:+ && }squarecloud-snapshots restore $each"
done
if [[ -n ${GITHUB_OUTPUT-} ]]; then
  printf 'snapshot=%s\nundo=%s\n' "$snapshots" "$undo" >>"$GITHUB_OUTPUT"
else
  printf 'SQUARECLOUD_SNAPSHOT=%s\n' "${snapshots// /,}" >guard.env
fi
{
  if [[ -n $undo ]]; then
    printf '### `%s` is guarded by a snapshot\n\n%s\n\n' "${0##*/}" "$snapshots"
    printf 'To go back:\n\n```sh\n%s\n```\n\n' "$undo"
    printf 'Type it where the command line of pulumi-snapshots is installed, '
    printf 'with an API key that also has the scope `databases:read`.\n'
  else
    printf '### `%s` has no snapshot, since guards are off\n' "${0##*/}"
  fi
} >>"${GITHUB_STEP_SUMMARY:-guard.md}"
exec bash -eo pipefail -c "$GUARD_COMMAND"
END
chmod +x "$command"
exec "$program" guard ${options[@]+"${options[@]}"} "${databases[@]}" -- "$command"
