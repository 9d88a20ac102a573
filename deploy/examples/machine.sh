# A task in plain bash: a table, a file and a line of the run's summary, no library and no SDK.
set -euo pipefail

{
  echo "| what | value |"
  echo "|:-----|------:|"
  echo "| system | $(uname -s) $(uname -m) |"
  echo "| processors | $(getconf _NPROCESSORS_ONLN) |"
  echo "| bash | ${BASH_VERSION%%(*} |"
  echo "| python | $(python3 -c 'import platform; print(platform.python_version())') |"
  echo
  echo "The environment's names are in [variables.txt](variables.txt)."
} > "$SCRIPTHUT_TASK_SUMMARY"

compgen -e | sort > "$SCRIPTHUT_OUTPUT_DIR/variables.txt"

echo "$(uname -s) on $(uname -m), $(getconf _NPROCESSORS_ONLN) processors" >> "$SCRIPTHUT_RUN_SUMMARY"
echo "wrote $(wc -l < "$SCRIPTHUT_TASK_SUMMARY") lines of Markdown"
