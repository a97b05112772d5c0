// Whether a program of the guest has the terminal's screen to itself: an editor, a pager, whatever
// reads the terminal key by key (ICANON off). Lines of ours would stand in its picture, and stay
// there: they wait until it has gone.
//
// The terminal is the user's where the guest has its foreground, and the pseudo-terminal in between
// with --new-session, where the user's is raw all the time. A terminal in whose foreground somebody
// else stands (cordon is a background job of a shell) is written to as by any background job.
#pragma once

#include <sys/types.h>

namespace cordon {

class GuestScreen {
 public:
  /// `own_terminal`: the master of the guest's pseudo-terminal, or -1.
  void set_guest(pid_t guest_init, int own_terminal) {
    guest_init_ = guest_init;
    own_terminal_ = own_terminal;
  }
  [[nodiscard]] bool has_own_terminal() const { return own_terminal_ >= 0; }

  /// Whether `terminal` is the user's, and taken. False for what is no terminal.
  [[nodiscard]] bool is_taken(int terminal) const;
  /// Whether this process's group or a process of the guest has the foreground of `terminal`.
  [[nodiscard]] bool has_foreground(int terminal) const;

 private:
  pid_t guest_init_ = -1;
  int own_terminal_ = -1;
};

}  // namespace cordon
