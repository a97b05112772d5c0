// Policy files changed by a program: what people wrote stays as they wrote it.
//
// The text is cut into tokens (strings, comments, brackets, ...), and new text is put between them;
// nothing is printed anew from values. Whatever comes out is read again before it counts: an edit
// that would make a file contradict itself is refused, and the file stays as it is.
#pragma once

#include <string>
#include <string_view>

#include "launcher/policy/policy_file.h"
#include "netstack/base/result.h"

namespace cordon {

/// `text` with `destination` in its list of `action`, at the end, the list's style kept; `comment`
/// may be empty. As it was where the destination is in that list already. `name` is for messages.
[[nodiscard]] Result<std::string> add_rule_to_text(std::string_view text, const std::string& name,
                                                   Action action, std::string_view destination,
                                                   std::string_view comment);

/// The same for a file, replaced in one step (rename(2)) with its mode kept; made, with its folder,
/// where it is not there. A symbolic link stays one. The error names the path.
[[nodiscard]] Status add_rule_to_file(const std::string& path, Action action,
                                      std::string_view destination, std::string_view comment);

/// Writes the file anew in one step. What is there and no regular file is not replaced.
[[nodiscard]] Status replace_file(const std::string& path, std::string_view text);
/// Whether replace_file() can be expected to succeed; the same errors.
[[nodiscard]] Status check_replaceable(const std::string& path);

/// `text` in the common form: lists that are long or commented one element a line, equal signs and
/// comments under each other, at most one blank line, none at the end of lines. Comments, order and
/// values stay. The text must be free of problems.
[[nodiscard]] Result<std::string> format_policy_text(std::string_view text,
                                                     const std::string& name);

}  // namespace cordon
