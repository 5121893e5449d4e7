// Package fleet knows the nodes: what each last reported, when it was last
// heard, and whether two hosts go by one id.
//
// A report is written to the store when it changed, never for a heartbeat;
// when a node was last heard is kept in memory. Every coordinator follows the
// stored reports by watch, so each knows the whole fleet.
//
// A Presence tells the other coordinators who is heard here: one leased key an
// id, written when it is first heard, when it falls silent, and when it is back.
package fleet
