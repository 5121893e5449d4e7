package web

import "net/http"

// key is one line of the help: what is pressed, and where that leads.
type key struct {
	Keys  []string
	Where string
}

// keys are those of static/keys.js.
var keys = []key{
	{[]string{"/"}, "the filter of the page, or where there is none the search for a node or a group"},
	{[]string{"g", "o"}, "Overview"},
	{[]string{"g", "n"}, "Nodes"},
	{[]string{"g", "r"}, "Rollouts"},
	{[]string{"g", "b"}, "Bundles"},
	{[]string{"g", "e"}, "Events"},
	{[]string{"g", "c"}, "Cluster"},
	{[]string{"?"}, "this list"},
}

func (s *server) showKeys(w http.ResponseWriter, r *http.Request) {
	s.showForm(w, r, "keys", "", "Keys", keys, nil)
}
