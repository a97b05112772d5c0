// The common form of a policy file: format_policy_text() of policy_file_edit.h.
//
// Statement by statement: a value's key and what stands behind the equal sign are taken from the
// text; values that stand in lines below each other become a block, whose equal signs and comments
// are put under each other when the block ends.

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "launcher/policy/policy_file_edit.h"
#include "launcher/policy/toml_tokens.h"

namespace cordon {
namespace {

constexpr std::size_t kLongestLine = 100;
using Tokens = std::vector<TomlToken>;

/// Characters as a terminal shows them: the continuation octets of UTF-8 have no width.
std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char character) { return (static_cast<std::uint8_t>(character) & 0xc0) != 0x80; }));
}

struct Line {
  std::string head;       // a key, where the equal signs are put under each other
  std::string tail;       // the value; or the whole line where there is no head
  std::string comment;    // beside it
  bool is_alone = false;  // ends a block: blank, header or comment
};

/// Puts the comments of neighbouring lines under each other, and their equal signs.
std::string joined(const std::vector<Line>& lines) {
  std::string out;
  std::size_t begin = 0;
  while (begin < lines.size()) {
    std::size_t end = begin;
    std::size_t head_width = 0;
    while (end < lines.size() && !lines[end].is_alone) {
      head_width = std::max(head_width, width_of(lines[end++].head));
    }
    if (end == begin) {
      out += lines[begin++].tail + "\n";
      continue;
    }
    std::vector<std::string> texts;
    std::size_t text_width = 0;
    for (std::size_t at = begin; at < end; ++at) {
      const Line& line = lines[at];
      std::string text = line.tail;
      if (!line.head.empty()) {
        text = line.head + std::string(head_width - width_of(line.head), ' ') + " = " + line.tail;
      }
      if (!line.comment.empty()) text_width = std::max(text_width, width_of(text));
      texts.push_back(std::move(text));
    }
    for (std::size_t at = begin; at < end; ++at) {
      std::string& text = texts[at - begin];
      const std::string& comment = lines[at].comment;
      if (!comment.empty()) {
        text.append(text_width - std::min(text_width, width_of(text)) + 1, ' ');
        text += comment;
      }
      out += text + "\n";
    }
    begin = end;
  }
  return out;
}

class Formatter {
 public:
  explicit Formatter(std::string_view text) : tokens_(cut_toml(text)) {}

  std::string format() {
    for (const TomlStatement& statement : statements_of(tokens_)) add(statement);
    while (!lines_.empty() && lines_.back().is_alone && lines_.back().tail.empty()) {
      lines_.pop_back();
    }
    return joined(lines_);
  }

 private:
  void add(const TomlStatement& statement) {
    switch (statement.kind) {
      case TomlStatement::Kind::kEmpty:
        return blank();
      case TomlStatement::Kind::kComment:
        lines_.push_back({.tail = comment_of(statement.first, statement.last), .is_alone = true});
        return;
      case TomlStatement::Kind::kHeader:
        return header(statement);
      case TomlStatement::Kind::kValue:
        return value(statement);
    }
  }

  void blank() {
    const bool is_first = lines_.empty() || (lines_.back().is_alone && lines_.back().tail.empty());
    if (!is_first) lines_.push_back({.is_alone = true});
  }

  [[nodiscard]] std::string comment_of(std::size_t first, std::size_t last) const {
    std::string comment;
    for (std::size_t at = first; at < last; ++at) {
      if (tokens_[at].kind == TomlToken::Kind::kComment) comment = tokens_[at].text;
    }
    comment.erase(comment.find_last_not_of(" \t") + 1);
    return comment;
  }

  /// The solid tokens as they are, a blank between values and marks where one stood.
  [[nodiscard]] std::string solid(std::size_t first, std::size_t last) const {
    std::string text;
    for (std::size_t at = first; at < last; ++at) {
      if (tokens_[at].is_solid()) {
        text += tokens_[at].text;
      } else if (!text.empty() && text.back() != ' ' && has_solid(at, last)) {
        text += ' ';
      }
    }
    return text;
  }
  [[nodiscard]] bool has_solid(std::size_t first, std::size_t last) const {
    return std::any_of(tokens_.begin() + static_cast<std::ptrdiff_t>(first),
                       tokens_.begin() + static_cast<std::ptrdiff_t>(last),
                       [](const TomlToken& token) { return token.is_solid(); });
  }

  void header(const TomlStatement& statement) {
    // Comments right above belong to the header; the blank line stands above them.
    std::size_t top = lines_.size();
    while (top > 0 && lines_[top - 1].is_alone && lines_[top - 1].tail.starts_with('#')) --top;
    const bool has_blank = top == 0 || (lines_[top - 1].is_alone && lines_[top - 1].tail.empty());
    if (!has_blank) {
      lines_.insert(lines_.begin() + static_cast<std::ptrdiff_t>(top), Line{.is_alone = true});
    }
    std::string text = solid(statement.first, statement.last);
    const std::string comment = comment_of(statement.first, statement.last);
    if (!comment.empty()) text += "  " + comment;
    lines_.push_back({.tail = std::move(text), .is_alone = true});
  }

  void value(const TomlStatement& statement) {
    const std::string key = solid(statement.first, statement.equals);
    std::size_t open = statement.equals + 1;
    while (open < statement.last && !tokens_[open].is_solid()) ++open;
    if (open == statement.last || !tokens_[open].is_mark('[')) {
      lines_.push_back({.head = key,
                        .tail = solid(open, statement.last),
                        .comment = comment_of(open, statement.last)});
      return;
    }
    list(key, open, closing_mark(tokens_, open), statement.last);
  }

  struct Element {
    std::string text;  // without its comma; empty: a comment or a blank line of its own
    std::string comment;
  };

  /// One behind the last token of the element that begins at `at`.
  [[nodiscard]] std::size_t end_of_element(std::size_t at, std::size_t close) const {
    while (at < close && !tokens_[at].is_mark(',') &&
           tokens_[at].kind != TomlToken::Kind::kNewline &&
           tokens_[at].kind != TomlToken::Kind::kComment) {
      const bool is_open = tokens_[at].is_mark('[') || tokens_[at].is_mark('{');
      at = (is_open ? closing_mark(tokens_, at) : at) + 1;
    }
    return at;
  }

  /// The elements, and the comments and blank lines between them.
  [[nodiscard]] std::vector<Element> elements_of(std::size_t open, std::size_t close) const {
    std::vector<Element> elements;
    bool is_line_start = false;
    for (std::size_t at = open + 1; at < close; ++at) {
      const TomlToken& token = tokens_[at];
      if (token.kind == TomlToken::Kind::kNewline) {
        if (is_line_start && !elements.empty()) elements.push_back({});
        is_line_start = true;
      } else if (token.kind == TomlToken::Kind::kComment) {
        const std::string comment = comment_of(at, at + 1);
        const bool is_beside = !is_line_start && !elements.empty() && !elements.back().text.empty();
        if (is_beside) {
          elements.back().comment = comment;
        } else {
          elements.push_back({.comment = comment});
        }
        is_line_start = false;
      } else if (token.is_solid() && !token.is_mark(',')) {
        const std::size_t end = end_of_element(at, close);
        elements.push_back({.text = solid(at, end)});
        at = end - 1;
        is_line_start = false;
      }
    }
    while (!elements.empty() && elements.back().text.empty() && elements.back().comment.empty()) {
      elements.pop_back();
    }
    return elements;
  }

  void list(const std::string& key, std::size_t open, std::size_t close, std::size_t last) {
    const std::vector<Element> elements = elements_of(open, close);
    std::string in_one;
    bool is_plain = true;
    for (const Element& element : elements) {
      is_plain = is_plain && element.comment.empty() && !element.text.empty();
      in_one += (in_one.empty() ? "" : ", ") + element.text;
    }
    const bool was_one_line = std::none_of(
        tokens_.begin() + static_cast<std::ptrdiff_t>(open),
        tokens_.begin() + static_cast<std::ptrdiff_t>(close),
        [](const TomlToken& token) { return token.kind == TomlToken::Kind::kNewline; });
    const std::string comment = comment_of(close, last);
    if (is_plain && was_one_line && key.size() + in_one.size() + 5 <= kLongestLine) {
      lines_.push_back({.head = key, .tail = "[" + in_one + "]", .comment = comment});
      return;
    }
    lines_.push_back({.tail = key + " = [", .is_alone = true});
    bool was_blank = true;
    for (const Element& element : elements) {
      const bool is_blank = element.text.empty() && element.comment.empty();
      if (is_blank && was_blank) continue;
      was_blank = is_blank;
      if (!element.text.empty()) {
        lines_.push_back({.tail = "  " + element.text + ",", .comment = element.comment});
      } else {
        lines_.push_back({.tail = is_blank ? "" : "  " + element.comment, .is_alone = true});
      }
    }
    lines_.push_back({.tail = comment.empty() ? "]" : "]  " + comment, .is_alone = true});
  }

  Tokens tokens_;
  std::vector<Line> lines_;
};

bool is_same(const PolicyFile& one, const PolicyFile& other) {
  return std::ranges::equal(one.rules, other.rules,
                            [](const Placed<Rule>& a, const Placed<Rule>& b) {
                              return a.value.to == b.value.to && a.value.action == b.value.action &&
                                     a.value.limits == b.value.limits;
                            }) &&
         one.use.size() == other.use.size() && one.classes.size() == other.classes.size();
}

}  // namespace

Result<std::string> format_policy_text(std::string_view text, const std::string& name) {
  const PolicyReading before = read_policy_text(text, name);
  if (!before.problems.empty()) return plain_error(summary_of(before.problems));
  std::string formatted = Formatter(text).format();
  const PolicyReading after = read_policy_text(formatted, name);
  if (!after.problems.empty() || !is_same(before.file, after.file)) {
    return plain_error(
        fmt::format("{}: cannot be brought into form without changing it; it stays as "
                    "it is",
                    name));
  }
  return formatted;
}

}  // namespace cordon
