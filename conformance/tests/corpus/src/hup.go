// A pause that leaves all signals but three to the run-time, which ends by them.
package main

import "syscall"

func main() {
	serve(syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
}
