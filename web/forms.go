package web

import "net/http"

func (s *server) formRoutes(mux *http.ServeMux) {
}
