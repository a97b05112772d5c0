#include "launcher/policy/toml_tokens.h"

namespace cordon {
namespace {

std::size_t end_of_string(std::string_view text, std::size_t begin) {
  const char quote = text[begin];
  const std::string_view triple = quote == '"' ? R"(""")" : "'''";
  if (text.substr(begin).starts_with(triple)) {
    std::size_t at = begin + 3;
    while (at < text.size() && !text.substr(at).starts_with(triple)) {
      at += quote == '"' && text[at] == '\\' ? 2U : 1U;
    }
    at += 3;
    // Up to two quotes may stand before the closing three.
    while (at < text.size() && text[at] == quote) ++at;
    return at < text.size() ? at : text.size();
  }
  std::size_t at = begin + 1;
  while (at < text.size() && text[at] != quote) at += quote == '"' && text[at] == '\\' ? 2U : 1U;
  return at < text.size() ? at + 1 : text.size();
}

TomlToken token_at(std::string_view text, std::size_t begin) {
  using Kind = TomlToken::Kind;
  const auto until = [&](Kind kind, std::size_t end) {
    end = end < text.size() ? end : text.size();
    return TomlToken{.kind = kind, .offset = begin, .text = text.substr(begin, end - begin)};
  };
  const char first = text[begin];
  if (first == '\n') return until(Kind::kNewline, begin + 1);
  if (text.substr(begin).starts_with("\r\n")) return until(Kind::kNewline, begin + 2);
  if (first == ' ' || first == '\t') {
    return until(Kind::kBlank, text.find_first_not_of(" \t", begin));
  }
  if (first == '#') {
    std::size_t end = text.find('\n', begin);
    if (end != std::string_view::npos && text[end - 1] == '\r') --end;
    return until(Kind::kComment, end);
  }
  if (first == '"' || first == '\'') return until(Kind::kString, end_of_string(text, begin));
  constexpr std::string_view kMarks = "[]{},=";
  if (kMarks.find(first) != std::string_view::npos) return until(Kind::kMark, begin + 1);
  return until(Kind::kWord, text.find_first_of(" \t\r\n#\"'[]{},=", begin + 1));
}

TomlStatement::Kind kind_from(const TomlToken& first) {
  if (first.kind == TomlToken::Kind::kComment) return TomlStatement::Kind::kComment;
  return first.is_mark('[') ? TomlStatement::Kind::kHeader : TomlStatement::Kind::kValue;
}

/// Up to and with the line's end that stands outside of brackets.
TomlStatement statement_at(const std::vector<TomlToken>& tokens, std::size_t at) {
  TomlStatement statement{.first = at};
  std::size_t depth = 0;
  for (; at < tokens.size(); ++at) {
    const TomlToken& token = tokens[at];
    if (token.kind == TomlToken::Kind::kNewline && depth == 0) {
      ++at;
      break;
    }
    const bool says_something = token.is_solid() || token.kind == TomlToken::Kind::kComment;
    if (statement.kind == TomlStatement::Kind::kEmpty && says_something) {
      statement.kind = kind_from(token);
    }
    if (token.is_mark('=') && depth == 0 && statement.equals == 0) statement.equals = at;
    if (token.is_mark('[') || token.is_mark('{')) ++depth;
    if ((token.is_mark(']') || token.is_mark('}')) && depth > 0) --depth;
  }
  statement.last = at;
  return statement;
}

}  // namespace

std::vector<TomlToken> cut_toml(std::string_view text) {
  std::vector<TomlToken> tokens;
  // A byte order mark may stand at the very beginning.
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (text.starts_with(kByteOrderMark)) {
    tokens.push_back({.kind = TomlToken::Kind::kBlank, .text = text.substr(0, 3)});
  }
  for (std::size_t at = tokens.size() * 3; at < text.size(); at = tokens.back().end()) {
    tokens.push_back(token_at(text, at));
  }
  return tokens;
}

std::vector<TomlStatement> statements_of(const std::vector<TomlToken>& tokens) {
  std::vector<TomlStatement> statements;
  for (std::size_t at = 0; at < tokens.size(); at = statements.back().last) {
    statements.push_back(statement_at(tokens, at));
  }
  return statements;
}

std::size_t closing_mark(const std::vector<TomlToken>& tokens, std::size_t open) {
  std::size_t depth = 0;
  for (std::size_t at = open; at < tokens.size(); ++at) {
    if (tokens[at].is_mark('[') || tokens[at].is_mark('{')) ++depth;
    if ((tokens[at].is_mark(']') || tokens[at].is_mark('}')) && --depth == 0) return at;
  }
  return tokens.size() - 1;
}

}  // namespace cordon
