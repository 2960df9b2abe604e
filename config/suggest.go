package config

// longestSuggestion bounds the cost of the edit distance on hostile input.
const longestSuggestion = 64

// Nearest returns the candidate that a person who wrote word probably meant, or
// "" when none is near: the fewest edits (insert, drop, replace, swap of
// neighbours), at most one for every three letters and at least one. Of equal
// candidates the earlier wins.
func Nearest(word string, candidates []string) string {
	if len(word) > longestSuggestion {
		return ""
	}
	nearest := ""
	limit := max(1, len(word)/3)
	for _, candidate := range candidates {
		if candidate == word || len(candidate) > longestSuggestion {
			continue
		}
		if len(candidate)-len(word) > limit || len(word)-len(candidate) > limit {
			continue
		}
		if edits := distance(word, candidate); edits <= limit {
			nearest = candidate
			limit = edits - 1 // only something strictly nearer may replace it
		}
	}
	return nearest
}

// distance is the optimal string alignment distance of two short strings.
func distance(a, b string) int {
	var before, last, row [longestSuggestion + 1]int
	for column := range len(b) + 1 {
		last[column] = column
	}
	for line := 1; line <= len(a); line++ {
		row[0] = line
		for column := 1; column <= len(b); column++ {
			cost := 1
			if a[line-1] == b[column-1] {
				cost = 0
			}
			row[column] = min(last[column]+1, row[column-1]+1, last[column-1]+cost)
			if line > 1 && column > 1 && a[line-1] == b[column-2] && a[line-2] == b[column-1] {
				row[column] = min(row[column], before[column-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
