// A pause that takes all signals, as programs of os/signal do.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	for {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if pid <= 0 {
				break
			}
		}
		switch <-signals {
		case syscall.SIGTERM, syscall.SIGINT:
			os.Exit(0)
		}
	}
}
