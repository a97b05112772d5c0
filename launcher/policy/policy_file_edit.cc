#include "launcher/policy/policy_file_edit.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "launcher/path_error.h"
#include "launcher/policy/toml_tokens.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {
namespace {

constexpr mode_t kNewFileMode = 0644;
constexpr mode_t kNewFolderMode = 0700;
constexpr const char* kTemporarySuffix = ".XXXXXX";

/// Where the list of `key` stands at the top of the document: the tokens of its brackets.
struct ListPlace {
  std::size_t open = 0;
  std::size_t close = 0;
};

std::optional<ListPlace> find_list(const std::vector<TomlToken>& tokens, std::string_view key) {
  for (const TomlStatement& statement : statements_of(tokens)) {
    if (statement.kind == TomlStatement::Kind::kHeader) return std::nullopt;
    if (statement.kind != TomlStatement::Kind::kValue) continue;
    std::string written;
    for (std::size_t at = statement.first; at < statement.equals; ++at) {
      if (tokens[at].is_solid()) written += tokens[at].text;
    }
    if (written != key && written != fmt::format("\"{}\"", key) &&
        written != fmt::format("'{}'", key)) {
      continue;
    }
    for (std::size_t at = statement.equals + 1; at < statement.last; ++at) {
      if (tokens[at].is_mark('[')) return ListPlace{at, closing_mark(tokens, at)};
    }
  }
  return std::nullopt;
}

std::size_t column_of(std::string_view text, std::size_t offset) {
  const std::size_t line = offset == 0 ? std::string_view::npos : text.rfind('\n', offset - 1);
  return line == std::string_view::npos ? offset : offset - line - 1;
}

/// The element's line, as its neighbours are written.
std::string element_line(std::string_view destination, std::string_view comment, std::size_t indent,
                         std::size_t comment_column) {
  std::string line(indent, ' ');
  line += fmt::format("\"{}\",", destination);
  if (comment.empty()) return line;
  const std::size_t column = std::max(comment_column, line.size() + 1);
  line.append(column - line.size(), ' ');
  line += "# ";
  for (const char character : comment) {
    const auto octet = static_cast<std::uint8_t>(character);
    line += octet < 0x20 || octet == 0x7f ? ' ' : character;
  }
  return line;
}

struct Insertion {
  std::size_t offset = 0;
  std::string text;
};

std::string apply(std::string_view text, std::vector<Insertion> insertions) {
  std::ranges::stable_sort(insertions, {}, &Insertion::offset);
  std::string out;
  std::size_t at = 0;
  for (const Insertion& insertion : insertions) {
    out += text.substr(at, insertion.offset - at);
    out += insertion.text;
    at = insertion.offset;
  }
  return out + std::string(text.substr(at));
}

std::string add_to_list(std::string_view text, const std::vector<TomlToken>& tokens,
                        const ListPlace& list, std::string_view destination,
                        std::string_view comment) {
  std::size_t last = list.open;  // the last element's last token
  bool has_comma = true;
  std::size_t comment_column = 0;
  for (std::size_t at = list.open + 1; at < list.close; ++at) {
    if (tokens[at].kind == TomlToken::Kind::kComment && last != list.open) {
      const std::size_t begin = text.rfind('\n', tokens[at].offset);
      const bool is_beside = begin != std::string_view::npos && begin < tokens[last].offset;
      if (is_beside) comment_column = column_of(text, tokens[at].offset);
    }
    if (!tokens[at].is_solid()) continue;
    has_comma = tokens[at].is_mark(',');
    if (!has_comma) last = at;
  }
  const bool is_empty = last == list.open;
  const std::size_t close = tokens[list.close].offset;
  const std::string_view before = text.substr(0, close);
  const std::size_t line_end = before.find_last_not_of(" \t");
  const bool closes_a_line = line_end != std::string_view::npos && before[line_end] == '\n';
  const std::size_t indent = closes_a_line && !is_empty && column_of(text, tokens[last].offset) < 9
                                 ? column_of(text, tokens[last].offset)
                                 : 2;
  const std::string line = element_line(destination, comment, indent, comment_column);
  std::vector<Insertion> insertions;
  if (!has_comma) insertions.push_back({tokens[last].end(), ","});
  if (closes_a_line) {
    insertions.push_back({line_end + 1, line + "\n"});
  } else {
    insertions.push_back({close, "\n" + line + "\n"});
  }
  return apply(text, std::move(insertions));
}

/// A list of its own behind the last value at the top of the document.
std::string add_list(std::string_view text, const std::vector<TomlToken>& tokens,
                     std::string_view key, std::string_view destination, std::string_view comment) {
  std::size_t offset = 0;
  for (const TomlStatement& statement : statements_of(tokens)) {
    if (statement.kind == TomlStatement::Kind::kHeader) break;
    if (statement.kind == TomlStatement::Kind::kValue) offset = tokens[statement.last - 1].end();
  }
  const bool ends_line = offset > 0 && text[offset - 1] == '\n';
  return apply(text, {{offset, fmt::format("{}\n{} = [\n{}\n]\n", ends_line ? "" : "\n", key,
                                           element_line(destination, comment, 2, 0))}});
}

bool has_rule(const PolicyFile& file, Action action, const Destination& to) {
  return std::ranges::any_of(file.rules, [&](const Placed<Rule>& rule) {
    return rule.value.action == action && rule.value.to == to;
  });
}

/// mkdir -p of the folder that `path` lies in.
Status make_folder_of(const std::string& path) {
  for (std::size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    const std::string folder = path.substr(0, at);
    if (::mkdir(folder.c_str(), kNewFolderMode) != 0 && errno != EEXIST) {
      return path_error(errno, folder, PathUse::kWrite, fmt::format("make the folder {}", folder));
    }
  }
  return {};
}

/// Where a chain of symbolic links leads; the path itself where it leads nowhere.
std::string real_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  return real ? std::string(real.get()) : path;
}

/// Renamed over, a device or a pipe would be no more.
Status check_is_file(const std::string& path, const std::string& target) {
  struct stat status {};
  if (path.empty()) return path_error(ENOENT, path, PathUse::kWrite, "\"\"");
  if (::stat(target.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return {};
  if (S_ISDIR(status.st_mode)) return path_error(EISDIR, path, PathUse::kWrite);
  return plain_error(
      fmt::format("{}: not a regular file, and is not replaced; write the path of one", path));
}

}  // namespace

Result<std::string> add_rule_to_text(std::string_view text, const std::string& name, Action action,
                                     std::string_view destination, std::string_view comment) {
  CORDON_TRY(const Destination to, parse_destination(destination));
  const PolicyReading before = read_policy_text(text, name);
  if (!before.problems.empty()) return plain_error(summary_of(before.problems));
  if (has_rule(before.file, action, to)) return std::string(text);
  const std::vector<TomlToken> tokens = cut_toml(text);
  const std::string_view key = action_name(action);
  const auto list = find_list(tokens, key);
  std::string edited = list ? add_to_list(text, tokens, *list, destination, comment)
                            : add_list(text, tokens, key, destination, comment);
  const PolicyReading after = read_policy_text(edited, name);
  if (!after.problems.empty()) {
    return plain_error(fmt::format("{} stays as it is: {}", name, summary_of(after.problems)));
  }
  const bool is_whole =
      has_rule(after.file, action, to) && after.file.rules.size() == before.file.rules.size() + 1;
  if (!is_whole) return plain_error(fmt::format("{}: no place was found for the rule", name));
  return edited;
}

Status replace_file(const std::string& path, std::string_view text) {
  const std::string target = real_path(path);
  CORDON_TRY_STATUS(check_is_file(path, target));
  struct stat status {};
  const mode_t mode = ::stat(target.c_str(), &status) == 0 ? status.st_mode & 07777 : kNewFileMode;
  std::string temporary = target + kTemporarySuffix;
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file.is_open()) return path_error(errno, target, PathUse::kWrite, path);
  const auto give_up = [&] {
    const int code = errno;
    ::unlink(temporary.c_str());
    return path_error(code, target, PathUse::kWrite, path);
  };
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t written = ::write(file.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return give_up();
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fchmod(file.get(), mode) != 0) return give_up();
  if (::fsync(file.get()) != 0) return give_up();
  if (::rename(temporary.c_str(), target.c_str()) != 0) {
    return give_up();
  }
  return {};
}

Status check_replaceable(const std::string& path) {
  const std::string target = real_path(path);
  CORDON_TRY_STATUS(check_is_file(path, target));
  std::string temporary = target + kTemporarySuffix;
  const UniqueFd file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file.is_open()) return path_error(errno, target, PathUse::kWrite, path);
  ::unlink(temporary.c_str());
  return {};
}

Status add_rule_to_file(const std::string& path, Action action, std::string_view destination,
                        std::string_view comment) {
  std::string text = fmt::format("version = {}\n", kPolicyVersion);
  if (::access(path.c_str(), F_OK) == 0) {
    CORDON_TRY(text, read_policy_octets(path));
  } else if (errno == ENOENT) {
    CORDON_TRY_STATUS(make_folder_of(path));
  } else {
    return path_error(errno, path, PathUse::kWrite);
  }
  CORDON_TRY(const std::string edited, add_rule_to_text(text, path, action, destination, comment));
  const bool is_there = edited == text && ::access(path.c_str(), F_OK) == 0;
  return is_there ? Status{} : replace_file(path, edited);
}

}  // namespace cordon
