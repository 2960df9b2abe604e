package nginx

// directive is one statement as it was written, includes not followed.
type directive struct {
	name      string
	arguments []string
	file      string
	line      int
	block     []*directive
	hasBlock  bool
	blockEnd  int // offset of the brace that closes the block; -1 when it is not closed
}

// Caps on all files of one configuration together.
const (
	deepestBlock   = 100
	mostDirectives = 1_000_000
)

// opaque names blocks whose content is not directives but data, or is of no
// concern here and may be huge.
var opaque = map[string]bool{
	"types": true, "map": true, "geo": true, "split_clients": true, "charset_map": true, "upstream": true, "match": true,
}

// parser turns one file into directives.
type parser struct {
	lexer *lexer
	file  string
	left  *int // directives that may still be read
}

// parse returns what could be read even when there is an error.
func parse(file, text string, left *int) ([]*directive, error) {
	parser := &parser{lexer: newLexer(text), file: file, left: left}
	return parser.directives(0)
}

// directives reads statements up to the end of the file (depth 0) or the block.
func (parser *parser) directives(depth int) ([]*directive, error) {
	var list []*directive
	for {
		words, end, err := parser.lexer.next()
		if err != nil {
			return list, err
		}
		switch {
		case end == endFile && depth > 0:
			return list, parser.lexer.fault("unexpected end of file, expecting \"}\"")
		case end == endFile:
			return list, nil
		case end == endClose && depth == 0:
			return list, parser.lexer.fault("unexpected \"}\"")
		case end == endClose:
			return list, nil
		}
		if *parser.left--; *parser.left < 0 {
			return list, parser.lexer.fault("more than %d directives", mostDirectives)
		}
		made := &directive{name: words[0].text, file: parser.file, line: words[0].line}
		for _, argument := range words[1:] {
			made.arguments = append(made.arguments, argument.text)
		}
		list = append(list, made)
		if end == endOpen {
			if err := parser.body(made, depth+1); err != nil {
				return list, err
			}
		}
	}
}

func (parser *parser) body(made *directive, depth int) (err error) {
	if depth > deepestBlock {
		return parser.lexer.fault("blocks nested deeper than %d", deepestBlock)
	}
	made.hasBlock = true
	if isLua(made.name) {
		err = parser.lexer.skipLua()
	} else {
		made.block, err = parser.directives(depth)
	}
	if made.blockEnd = parser.lexer.position - 1; err != nil {
		made.blockEnd = -1
	}
	return err
}
