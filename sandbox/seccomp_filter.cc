#include "sandbox/seccomp_filter.h"

#include <array>
#include <cerrno>
#include <signal.h>
#include <string>
#include <unistd.h>

#include <seccomp.h>

namespace cordon {
namespace {

constexpr int kRefusedStatus = 128 + SIGSYS;

// No allocation and no stdio: only what may be called in a signal handler and what the filter
// permits.
void tell_and_end(int /*signal*/, siginfo_t* info, void* /*context*/) {
  std::array<char, 64> line{};
  std::size_t length = 0;
  for (const char letter : std::string_view("refused system call ")) line[length++] = letter;
  const auto number = static_cast<unsigned>(info->si_syscall);
  unsigned divisor = 1000;
  while (divisor > 1 && number / divisor == 0) divisor /= 10;
  for (; divisor > 0; divisor /= 10) {
    line[length++] = static_cast<char>('0' + number / divisor % 10);
  }
  line[length++] = '\n';
  // Nobody is left to be told where this fails.
  (void)!::write(STDERR_FILENO, line.data(), length);
  ::_exit(kRefusedStatus);
}

}  // namespace

FilterAction FilterAction::allow() { return FilterAction(SCMP_ACT_ALLOW); }
FilterAction FilterAction::kill_process() { return FilterAction(SCMP_ACT_KILL_PROCESS); }
FilterAction FilterAction::trap() { return FilterAction(SCMP_ACT_TRAP); }
FilterAction FilterAction::refuse(int code) {
  return FilterAction(SCMP_ACT_ERRNO(static_cast<std::uint32_t>(code)));
}

void SeccompFilter::Release::operator()(void* context) const { ::seccomp_release(context); }

Result<SeccompFilter> SeccompFilter::create(FilterAction otherwise) {
  SeccompFilter filter(::seccomp_init(otherwise.value()));
  if (!filter.context_) return errno_error(ENOMEM, "seccomp_init");
  const int outcome =
      ::seccomp_attr_set(filter.context_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  if (outcome != 0) return errno_error(-outcome, "seccomp_attr_set");
  return filter;
}

Status SeccompFilter::add(FilterAction action, int number, std::span<const ArgumentRule> rules) {
  std::array<scmp_arg_cmp, 6> comparisons{};
  if (rules.size() > comparisons.size()) return errno_error(E2BIG, "seccomp rule");
  for (std::size_t i = 0; i < rules.size(); ++i) {
    comparisons[i] = {.arg = rules[i].index,
                      .op = SCMP_CMP_MASKED_EQ,
                      .datum_a = rules[i].mask,
                      .datum_b = rules[i].value};
  }
  const int outcome =
      ::seccomp_rule_add_array(context_.get(), action.value(), number,
                               static_cast<unsigned>(rules.size()), comparisons.data());
  if (outcome != 0) return errno_error(-outcome, "seccomp rule for call " + std::to_string(number));
  return {};
}

Status SeccompFilter::load() {
  const int outcome = ::seccomp_load(context_.get());
  if (outcome != 0) return errno_error(-outcome, "seccomp_load");
  return {};
}

Status SeccompFilter::load_on_all_threads() {
  const int outcome = ::seccomp_attr_set(context_.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  if (outcome != 0) return errno_error(-outcome, "seccomp_attr_set");
  return load();
}

Status explain_refused_calls() {
  struct sigaction action {};
  action.sa_sigaction = tell_and_end;
  action.sa_flags = SA_SIGINFO;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return errno_error("sigaction SIGSYS");
  return {};
}

}  // namespace cordon
