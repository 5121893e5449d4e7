package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
)

// The values of --format.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatYAML  = "yaml"
)

func checkFormat(format string) error {
	if !slices.Contains([]string{formatTable, formatJSON, formatYAML}, format) {
		return usagef("--format %q: want table, json or yaml", format)
	}
	return nil
}

// print writes a value as the API has it, or calls table for people.
func (a *app) print(v any, table func() error) error {
	text, err := a.encode(v)
	if err != nil {
		return err
	}
	if text == nil {
		return table()
	}
	_, err = a.out.Write(text)
	return err
}

// encode is nil when people read the output.
func (a *app) encode(v any) ([]byte, error) {
	switch a.format {
	case formatJSON:
		text, err := json.MarshalIndent(v, "", "  ")
		return append(text, '\n'), err
	case formatYAML:
		return yamlOf(v)
	}
	return nil, nil
}

// yamlOf writes the members in the JSON's words and order.
func yamlOf(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(text)
}

// say writes a line on what was done. With -o json or yaml the object itself
// is the output, and the line would spoil it.
func (a *app) say(format string, args ...any) {
	if a.format == formatTable {
		fmt.Fprintf(a.out, format+"\n", args...)
	}
}

// hint writes a line beside the output.
func (a *app) hint(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

// more is a hint for -v.
func (a *app) more(format string, args ...any) {
	if a.verbose {
		a.hint(format, args...)
	}
}

// table prints rows; none is said in words.
func (a *app) table(none string, heading []string, rows [][]string) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.out, none)
		return err
	}
	return cli.Table(a.out, heading, rows)
}

// colour marks a word; the word itself always says as much.
type colour string

const (
	plain  colour = "39"
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	blue   colour = "34"
)

// paint colours a text on a terminal. Every colour is of the same length, plain
// too, so that a column keeps its alignment if all its cells are painted.
func (a *app) paint(c colour, text string) string {
	text = cli.Cell(text)
	if !a.colour || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// facts prints names and values in two columns, leaving out empty values.
func (a *app) facts(pairs ...string) error {
	var rows [][]string
	for p := range slices.Chunk(pairs, 2) {
		if p[1] != "" {
			rows = append(rows, p)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return cli.Table(a.out, rows[0], rows[1:])
}

// short is a digest as people quote it.
func short(digest string) string { return digest[:min(12, len(digest))] }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return cli.Cell(s)
}

func labelText(labels map[string]string) string {
	var list []string
	for k, v := range labels {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return cli.Cell(strings.Join(list, ","))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
