// A pause that takes all signals, as programs of os/signal do.
package main

func main() {
	serve()
}
