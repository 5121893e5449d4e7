// Package semaphore holds the rules of a group's counting semaphore: who may
// take a slot, who must wait and why, and what each request changes.
//
// It is pure. Values go in, values come out, time is passed in, and nothing
// but the standard library is imported. A store (see Store) keeps the state
// and carries decisions out; grants, explain, the plan and the simulator all
// ask the same functions.
package semaphore
