// Names for isolation steps, and one way to fail.
//
// Isolation is a list of steps in an order that matters. A step that fails ends the process before
// the guest's command runs, and the person is told which one it was:
//
//     guest: mount /proc: Operation not permitted
//
// There is no recovery and no optional wall. What a kernel may lack (Landlock, MDWE) is decided
// inside the step, by the errno that says "not known here" and by nothing else.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "netstack/base/result.h"

namespace cordon {

class IsolationSteps {
 public:
  /// `actor` stands in front of every failure: "guest", "translator". `failing_step` is for tests:
  /// the step of that name fails although it went well; empty in the product.
  IsolationSteps(std::string_view actor, std::string_view failing_step)
      : actor_(actor), failing_step_(failing_step) {}

  /// The outcome of the step `name`, with actor and step put in front where it failed.
  [[nodiscard]] Status check(std::string_view name, Status outcome) const {
    if (outcome && (failing_step_.empty() || failing_step_ != name)) return outcome;
    std::string what = actor_;
    what.append(": ").append(name);
    if (outcome) return errno_error(EPERM, std::move(what));
    if (outcome.error().what.empty()) return errno_error(outcome.error().code, std::move(what));
    return wrap(what, std::move(outcome).error());
  }

 private:
  std::string actor_;
  std::string failing_step_;
};

}  // namespace cordon
