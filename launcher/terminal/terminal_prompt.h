// Asking on the controlling terminal, without disturbing who uses it.
//
// A question is shown only while nobody else wants what is typed: we are in the foreground, the
// terminal reads lines and echoes them (a full-screen program, an editor's line or a password
// prompt has it otherwise), no process of the guest waits to read it, and nothing has been typed
// ahead for one. Should the guest begin to read it while the question stands there, the question
// steps aside: the answer would be the guest's.
//
// With --new-session all that is typed comes through our hands, and the terminal that counts is the
// guest's own: while a question stands there what is typed is the answer, and reaches nobody else.
// Only what means a signal (^C, ^Z, ^\) goes on to the command.
//
// A question that cannot be shown waits for a better moment, as long as there is time, and `cordon
// ask` can answer it meanwhile. A line on stderr says so: at once where that moment may not come (a
// full-screen program, a shell inside with job control), else after kTellAfter. A screen that
// somebody has is not written to, so there the line waits (event_log.h) and the terminal's bell is
// rung.
//
// What was typed before the question was shown, or sooner than it can be read, is no answer to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>

#include "launcher/control/questions.h"
#include "launcher/side_loop.h"
#include "launcher/terminal/guest_screen.h"
#include "launcher/terminal/terminal.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

class TerminalPrompt {
 public:
  /// `tty`: the controlling terminal, opened for reading and writing without waiting, or closed:
  /// there is none. The others outlive this.
  TerminalPrompt(UniqueFd tty, SideLoop& loop, Questions& questions, const GuestScreen& screen);
  ~TerminalPrompt();
  TerminalPrompt(const TerminalPrompt&) = delete;
  TerminalPrompt& operator=(const TerminalPrompt&) = delete;

  /// Opens /dev/tty.
  [[nodiscard]] static UniqueFd open_terminal();

  /// `own_terminal`: of --new-session, until the guest's end; or nullptr.
  void set_guest(pid_t guest_init, Terminal* own_terminal) {
    guest_init_ = guest_init;
    own_terminal_ = own_terminal;
  }
  /// The name that `cordon ask` knows this sandbox by; empty: it cannot be spoken to.
  void set_sandbox(std::string sandbox) { sandbox_ = std::move(sandbox); }
  /// Whether there is a person at the terminal who can be shown a question, or told of it.
  [[nodiscard]] bool is_there() const;
  /// Questions have come or gone.
  void on_change();

 private:
  /// The terminal is ours to read, and reads lines.
  [[nodiscard]] bool reads_lines() const;
  /// What is typed comes to us by the terminal of --new-session.
  [[nodiscard]] bool has_relay() const;
  [[nodiscard]] bool is_awaited() const;
  [[nodiscard]] bool may_show() const;
  void show(const PendingQuestion& question);
  /// Nothing is shown any more; whoever reads the terminal has it again.
  void let_go();
  void withdraw();
  void step_aside();
  void tell_elsewhere();
  void look_again();
  void read();
  void on_typed(std::string_view typed);
  void on_line(std::string_view line);
  void say(std::string_view text) const;

  UniqueFd tty_;
  SideLoop& loop_;
  Questions& questions_;
  const GuestScreen& screen_;
  std::string sandbox_;
  pid_t guest_init_ = -1;
  Terminal* own_terminal_ = nullptr;
  std::uint64_t device_ = 0;  // of tty_
  std::optional<std::uint32_t> shown_;
  Instant shown_at_{};
  std::optional<Instant> hidden_since_;     // questions wait that cannot be shown
  std::optional<std::uint32_t> withdrawn_;  // stepped aside, and is not shown again
  std::optional<SideLoop::Timer> retry_;
  std::string line_;
};

/// Whether a process below `guest_init` may take what is typed on the terminal of device `tty`
/// right now: it waits in a read of it, or for something to read. True where that cannot be told.
[[nodiscard]] bool is_terminal_awaited(pid_t guest_init, dev_t tty);

}  // namespace cordon
