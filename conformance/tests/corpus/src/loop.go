// What a pause does once it has its signals.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

// Takes these signals, all where none is named.
func serve(taken ...os.Signal) {
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, taken...)
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
