// The audit's result for people, for programs, and several results side by side.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/audit/verdicts.h"
#include "netstack/base/result.h"

namespace cordon::audit {

struct Report {
  std::string name;                     // of the sandbox, for comparisons
  std::vector<std::string> sandbox;     // its words
  std::vector<Row> rows;                // one for each leak, in their order
  std::vector<std::string> remarks;     // what limits this run
  bool is_complete = true;              // the prober said that it was done
  std::optional<bool> reached_allowed;  // the allowed twin, where one was given
  double seconds = 0;
};

/// The table. `has_all_evidence`: every piece of it, not only the first.
[[nodiscard]] std::string table_of(const Report& report, bool has_all_evidence, bool has_colour);
[[nodiscard]] std::string json_of(const Report& report);
/// What json_of() wrote. The error names what is wrong with it.
[[nodiscard]] Result<Report> read_json(std::string_view text);
/// A Markdown table: a line for each leak that at least one of them has, a column for each.
[[nodiscard]] std::string comparison_of(std::span<const Report> reports);
/// Every row that there is, and how it is tried.
[[nodiscard]] std::string list_of_leaks();

/// 0 clean, 1 leaks, 125 where the result proves nothing.
[[nodiscard]] int exit_status(const Report& report);

}  // namespace cordon::audit
