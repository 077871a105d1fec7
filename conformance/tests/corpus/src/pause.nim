## A pause with Nim's run-time, which has handlers of its own for some signals.
import std/posix

proc main() =
  var set: Sigset
  discard sigemptyset(set)
  for number in [SIGTERM, SIGINT, SIGCHLD]:
    discard sigaddset(set, number)
  var old: Sigset
  discard sigprocmask(SIG_BLOCK, set, old)
  while true:
    var status: cint
    while waitpid(Pid(-1), status, WNOHANG) > 0: discard
    var number: cint
    if sigwait(set, number) == 0 and number != SIGCHLD:
      quit(0)

main()
