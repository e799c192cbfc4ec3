package container

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// Containers that nobody has named get an adjective and a surname, as docker has
// it: of people who built something that lasts.
const (
	adjectives = "able agile amber ample ardent brave bright brisk calm candid careful clever cosy crisp curious daring deft " +
		"eager early fair fearless fine fond frank free gentle glad golden good grand great happy hardy hearty honest humble " +
		"jolly keen kind lively loyal lucid lucky mellow merry mild modest neat nimble noble open patient plain plucky polite " +
		"proud quick quiet ready rosy sage sharp silent simple sincere sleek smart smooth snug sober solid spry steady stoic " +
		"strong sturdy sunny sure swift tidy tireless trusty upbeat vivid warm watchful wise witty worthy young zesty"
	surnames = "alberti arkwright baird bazalgette bell benz bessemer boulle boulton bramah brunel brunelleschi candela carothers " +
		"chappe cockerell cort crompton cugnot daimler darby davy diesel drebbel eads ebener edison eiffel ericsson fairbairn " +
		"faraday finley fowler freyssinet fuller fulton gaudi girard goethals gutenberg hadid harrison heron hooke howe huygens " +
		"imhotep jacquard jessop judson kay khan koenig latrobe lilienthal locke loos lovelace maillart mansart marconi maybach " +
		"mcadam metcalfe morris murdoch nasmyth nervi newcomen niepce nobel otis otto palladio papin parsons paxton pullman " +
		"rennie riquet roebling ruskin savery schinkel semper senefelder siemens sinan sommeiller soufflot stephenson strowger " +
		"swan talbot telford tesla torroja trevithick vauban vitruvius volta watt wedgwood whitworth wren wright zeppelin"
)

// anyName makes a name that isn't taken. Where most are, it ends in a number.
func anyName(taken func(name string) bool) string {
	first, last := strings.Fields(adjectives), strings.Fields(surnames)
	for try := 0; ; try++ {
		name := first[rand.IntN(len(first))] + "_" + last[rand.IntN(len(last))]
		if try >= 8 {
			name += strconv.Itoa(try)
		}
		if !taken(name) {
			return name
		}
	}
}
