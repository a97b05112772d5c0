// A TOML document cut into tokens, for edits that keep everything else. For text that toml++ has
// read without an error: nothing is checked here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace cordon {

struct TomlToken {
  enum class Kind : std::uint8_t {
    kBlank,    // spaces and tabs; the byte order mark
    kNewline,  // "\n" or "\r\n"
    kComment,  // from '#' up to the line's end
    kString,   // of any of the four kinds, with its quotes
    kMark,     // one of [ ] { } , =
    kWord,     // anything else: bare keys, numbers, dates, dots
  };
  Kind kind = Kind::kWord;
  std::size_t offset = 0;
  std::string_view text;

  [[nodiscard]] std::size_t end() const { return offset + text.size(); }
  [[nodiscard]] bool is_mark(char mark) const { return kind == Kind::kMark && text[0] == mark; }
  /// Neither blank nor line's end nor comment.
  [[nodiscard]] bool is_solid() const {
    return kind == Kind::kString || kind == Kind::kMark || kind == Kind::kWord;
  }
};

/// All of the text, without gaps. The views are into `text`.
[[nodiscard]] std::vector<TomlToken> cut_toml(std::string_view text);

/// What a document is made of at its top: `key = value`, a header, or a line without either.
struct TomlStatement {
  enum class Kind : std::uint8_t { kValue, kHeader, kComment, kEmpty };
  Kind kind = Kind::kEmpty;
  std::size_t first = 0;   // tokens, up to and with the line's end
  std::size_t last = 0;    // one behind
  std::size_t equals = 0;  // kValue: the token
};

[[nodiscard]] std::vector<TomlStatement> statements_of(const std::vector<TomlToken>& tokens);

/// The mark that closes the one at `open`.
[[nodiscard]] std::size_t closing_mark(const std::vector<TomlToken>& tokens, std::size_t open);

}  // namespace cordon
