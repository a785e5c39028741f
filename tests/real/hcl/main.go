// gslc-hcl prints the HCL2 files named as arguments, or "-", as JSON, read by HashiCorp's own library as Nomad reads them:
// locals are evaluated, and a reference that only Nomad's client knows ("${attr.kernel.name}") stays text.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

type block struct {
	Type       string                     `json:"type"`
	Labels     []string                   `json:"labels"`
	Attributes map[string]json.RawMessage `json:"attributes"`
	Blocks     []block                    `json:"blocks"`
}

// names is a tree of what an expression refers to below one root name.
type names map[string]names

func (n names) add(path []string) {
	if len(path) == 0 {
		return
	}
	if n[path[0]] == nil {
		n[path[0]] = names{}
	}
	n[path[0]].add(path[1:])
}

func (n names) value(prefix string) cty.Value {
	if len(n) == 0 {
		return cty.StringVal("${" + prefix + "}")
	}
	fields := map[string]cty.Value{}
	for name, below := range n {
		fields[name] = below.value(prefix + "." + name)
	}
	return cty.ObjectVal(fields)
}

func evaluate(expression hcl.Expression, locals map[string]cty.Value) (json.RawMessage, cty.Value, error) {
	roots := names{}
	for _, traversal := range expression.Variables() {
		path := []string{}
		for _, step := range traversal {
			switch s := step.(type) {
			case hcl.TraverseRoot:
				path = append(path, s.Name)
			case hcl.TraverseAttr:
				path = append(path, s.Name)
			}
		}
		if path[0] != "local" {
			roots.add(path)
		}
	}
	variables := map[string]cty.Value{"local": cty.ObjectVal(locals)}
	for name, below := range roots {
		variables[name] = below.value(name)
	}
	value, diagnostics := expression.Value(&hcl.EvalContext{Variables: variables})
	if diagnostics.HasErrors() {
		return nil, cty.NilVal, diagnostics
	}
	text, err := ctyjson.Marshal(value, value.Type())
	return text, value, err
}

func read(body *hclsyntax.Body, locals map[string]cty.Value) (map[string]json.RawMessage, []block, error) {
	attributes := map[string]json.RawMessage{}
	blocks := []block{}
	for name, attribute := range body.Attributes {
		text, _, err := evaluate(attribute.Expr, locals)
		if err != nil {
			return nil, nil, err
		}
		attributes[name] = text
	}
	for _, inner := range body.Blocks {
		a, b, err := read(inner.Body, locals)
		if err != nil {
			return nil, nil, err
		}
		blocks = append(blocks, block{Type: inner.Type, Labels: inner.Labels, Attributes: a, Blocks: b})
	}
	return attributes, blocks, nil
}

func document(name string) (block, error) {
	source, err := os.ReadFile(name)
	if name == "-" {
		source, err = io.ReadAll(os.Stdin)
	}
	if err != nil {
		return block{}, err
	}
	file, diagnostics := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
	if diagnostics.HasErrors() {
		return block{}, diagnostics
	}
	body := file.Body.(*hclsyntax.Body)
	locals := map[string]cty.Value{}
	for _, inner := range body.Blocks {
		if inner.Type != "locals" {
			continue
		}
		for key, attribute := range inner.Body.Attributes {
			if _, value, err := evaluate(attribute.Expr, nil); err != nil {
				return block{}, err
			} else {
				locals[key] = value
			}
		}
	}
	attributes, blocks, err := read(body, locals)
	return block{Type: strings.TrimSuffix(name, ".nomad.hcl"), Attributes: attributes, Blocks: blocks}, err
}

func main() {
	documents := []block{}
	for _, name := range os.Args[1:] {
		found, err := document(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		documents = append(documents, found)
	}
	if err := json.NewEncoder(os.Stdout).Encode(documents); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
