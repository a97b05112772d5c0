#include "launcher/verbs/doctor.h"

#include <algorithm>
#include <cstdlib>
#include <unistd.h>

#include <fmt/format.h>

namespace cordon {
namespace {

std::string_view level_word(Finding::Level level) {
  switch (level) {
    case Finding::Level::kOk:
      return "ok";
    case Finding::Level::kNote:
      return "note";
    case Finding::Level::kMissing:
      return "missing";
  }
  return "";
}

std::string_view level_colour(Finding::Level level) {
  switch (level) {
    case Finding::Level::kOk:
      return "\033[32m";
    case Finding::Level::kNote:
      return "\033[33m";
    case Finding::Level::kMissing:
      return "\033[31;1m";
  }
  return "";
}

std::ptrdiff_t count_missing(std::span<const Finding> findings) {
  return std::count_if(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.level == Finding::Level::kMissing;
  });
}

std::string verdict(std::ptrdiff_t missing) {
  if (missing == 0) return "cordon run can work here.";
  return fmt::format("cordon run cannot work here: {} missing.",
                     missing == 1 ? "one thing is" : fmt::format("{} things are", missing));
}

}  // namespace

std::string doctor_report(std::span<const Finding> findings, bool has_colour) {
  std::size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.subject.size());
  std::string report;
  for (const Finding& finding : findings) {
    report += fmt::format("{}{:<8}{} {:<{}}  {}\n", has_colour ? level_colour(finding.level) : "",
                          level_word(finding.level), has_colour ? "\033[0m" : "", finding.subject,
                          width, finding.words);
    for (const std::string& line : finding.remedy) {
      report += fmt::format("{:>9}{:<{}}  -> {}\n", "", "", width, line);
    }
  }
  return report + "\n" + verdict(count_missing(findings)) + "\n";
}

int doctor() {
  const auto findings = probe_host();
  const bool has_colour = ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  fmt::print("{}", doctor_report(findings, has_colour));
  return count_missing(findings) == 0 ? 0 : 1;
}

}  // namespace cordon
