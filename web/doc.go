// Package web is the dashboard: server-rendered pages that read without
// script, forms that work without it, and a stream that keeps the pages live.
// It decides nothing: every page is a view of what the service answers, and
// every form is one call of it.
package web
