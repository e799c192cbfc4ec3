package hostile

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// Status answers with a status and the error code that the specification has for
// it; headers are pairs of names and values.
func Status(status int, code string, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		refuse(w, status, code, http.StatusText(status))
	}
}

// Hang never answers, until the client goes or the registry is closed.
func (r *Registry) Hang() Fault {
	return func(_ http.ResponseWriter, q *http.Request, _ http.Handler) { r.wait(q) }
}

// Stall answers with the first n bytes, and then with no more.
func (r *Registry) Stall(n int) Fault {
	return func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		begin(w, q, next, n)
		r.wait(q)
	}
}

func (r *Registry) wait(q *http.Request) {
	select {
	case <-q.Context().Done():
	case <-r.closed:
	}
}

// CutOff closes the connection after the first n bytes of the answer.
func CutOff(n int) Fault {
	return func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		begin(w, q, next, n)
		panic(http.ErrAbortHandler)
	}
}

// begin answers with the first n bytes, though more are promised.
func begin(w http.ResponseWriter, q *http.Request, next http.Handler, n int) {
	answer := record(q, next)
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()[:min(n, answer.Body.Len())])
	_ = http.NewResponseController(w).Flush()
}

// Corrupt answers with the last byte turned around.
func Corrupt(w http.ResponseWriter, q *http.Request, next http.Handler) {
	content := record(q, next).Body.Bytes()
	content[len(content)-1] ^= 0xff
	_, _ = w.Write(content)
}

// Short answers with all bytes but the last, as if that were all.
func Short(w http.ResponseWriter, q *http.Request, next http.Handler) {
	content := record(q, next).Body.Bytes()
	_, _ = w.Write(content[:len(content)-1])
}

// Endless answers with zeros for as long as somebody reads.
func Endless(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	zeros := make([]byte, 1<<16)
	for {
		if _, err := w.Write(zeros); err != nil {
			return
		}
	}
}

// EndlessTags answers with a list of tags for as long as somebody reads.
func EndlessTags(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	_, err := io.WriteString(w, `{"name":"app","tags":["v1"`)
	for more := strings.Repeat(`,"v2"`, 1<<14); err == nil; {
		_, err = io.WriteString(w, more)
	}
}

// Circle redirects to another path that does the same.
func Circle(w http.ResponseWriter, q *http.Request, _ http.Handler) {
	n, _ := strconv.Atoi(q.URL.Query().Get("n"))
	http.Redirect(w, q, fmt.Sprintf("%s?n=%d", q.URL.Path, 1-n), http.StatusTemporaryRedirect)
}

// Drip answers a byte at a time, with pauses between.
func (r *Registry) Drip(pause time.Duration) Fault {
	return func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		for _, b := range record(q, next).Body.Bytes() {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-q.Context().Done():
				return
			case <-r.closed:
				return
			case <-time.After(pause):
			}
		}
	}
}

func record(q *http.Request, next http.Handler) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, q)
	return answer
}

// Whole answers as if there were no ranges.
func Whole(w http.ResponseWriter, q *http.Request, next http.Handler) {
	q.Header.Del("Range")
	next.ServeHTTP(w, q)
}

// Part answers with the content from offset on, as if that had been asked for.
func Part(offset int) Fault {
	return func(w http.ResponseWriter, q *http.Request, next http.Handler) {
		q.Header.Del("Range")
		content := record(q, next).Body.Bytes()
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, len(content)-1, len(content)))
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(content[offset:])
	}
}

// Page answers with a status and a page for people.
func Page(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, "<html><body>%s</body></html>", http.StatusText(status))
	}
}
