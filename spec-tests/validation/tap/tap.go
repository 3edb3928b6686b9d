// Package tap prints test results in the Test Anything Protocol, version 13.
//
// It stands in for github.com/mndrix/tap-go, which Debian does not package, and has what
// the validation programs and runtimetest call, no more. Unlike the original it always
// writes diagnostics as JSON, which is YAML as well.
package tap

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// T counts and prints the results of one program, to standard output.
type T struct {
	count *int
	todo  bool
}

// New returns a T that has reported nothing yet.
func New() *T {
	return &T{count: new(int)}
}

// Header prints the protocol's version, and the plan if the number of tests is known (not 0).
func (t *T) Header(tests int) {
	fmt.Println("TAP version 13")
	if tests > 0 {
		fmt.Printf("1..%d\n", tests)
	}
}

// AutoPlan prints the plan after the fact: as many tests as there were.
func (t *T) AutoPlan() {
	fmt.Printf("1..%d\n", *t.count)
}

// Ok reports a test that passed or failed.
func (t *T) Ok(passed bool, description string) {
	word, directive := "ok", ""
	if !passed {
		word = "not ok"
	}
	if t.todo {
		directive = " # TODO"
	}
	*t.count++
	fmt.Printf("%s %d - %s%s\n", word, *t.count, oneLine(description), directive)
}

// Pass reports a test that passed.
func (t *T) Pass(description string) {
	t.Ok(true, description)
}

// Fail reports a test that failed.
func (t *T) Fail(description string) {
	t.Ok(false, description)
}

// Skip reports tests that were not run.
func (t *T) Skip(tests int, description string) {
	for i := 0; i < tests; i++ {
		*t.count++
		fmt.Printf("ok %d # SKIP %s\n", *t.count, oneLine(description))
	}
}

// Todo returns a T that marks its tests as not expected to pass, and counts on with t.
func (t *T) Todo() *T {
	return &T{count: t.count, todo: true}
}

// Diagnostic prints text for people, as comment lines.
func (t *T) Diagnostic(text string) {
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		fmt.Println("# " + line)
	}
}

// Diagnosticf prints formatted text for people, as comment lines.
func (t *T) Diagnosticf(format string, args ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, args...))
}

// YAML prints a value that tells more about the test before it, indented by two columns.
// What JSON cannot hold is an error, and nothing is printed.
func (t *T) YAML(value interface{}) error {
	text, err := json.MarshalIndent(value, "  ", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "  ---\n  %s\n  ...\n", text)
	return err
}

// oneLine keeps a description on the line of its result.
func oneLine(description string) string {
	return strings.Join(strings.Fields(description), " ")
}
