// Asking on the controlling terminal, without disturbing who uses it.
//
// A question is shown only while we are in the foreground and the terminal reads lines and echoes
// them: a full-screen program, an editor's line or a password prompt has it otherwise. Where the
// command's standard input is another file, that is enough. Where it is the terminal, nothing may
// have been typed or written for eight seconds (the kernel keeps these times no finer), and no
// process of the guest may wait to read it: the answer would be theirs. A question that cannot be
// shown waits for a better moment, as long as there is time; `cordon ask` can answer it meanwhile.
// Where that moment may not come (a full-screen program, a shell inside with job control, a session
// of the command's own), a line on stderr says so; a screen that somebody has is not written to, so
// there the line waits (event_log.h) and the terminal's bell is rung.
//
// What was typed before the question was shown is no answer to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>

#include "launcher/guest_screen.h"
#include "launcher/questions.h"
#include "launcher/side_loop.h"
#include "netstack/base/unique_fd.h"

namespace cordon {

class TerminalPrompt {
 public:
  /// `tty`: the controlling terminal, opened for reading and writing without waiting, or closed:
  /// there is none. The others outlive this.
  TerminalPrompt(UniqueFd tty, SideLoop& loop, Questions& questions, const GuestScreen& screen)
      : tty_(std::move(tty)), loop_(loop), questions_(questions), screen_(screen) {}
  ~TerminalPrompt();
  TerminalPrompt(const TerminalPrompt&) = delete;
  TerminalPrompt& operator=(const TerminalPrompt&) = delete;

  /// Opens /dev/tty.
  [[nodiscard]] static UniqueFd open_terminal();

  void set_guest_init(pid_t guest_init) { guest_init_ = guest_init; }
  /// The name that `cordon ask` knows this sandbox by; empty: it cannot be spoken to.
  void set_sandbox(std::string sandbox) { sandbox_ = std::move(sandbox); }
  /// Whether there is a person at the terminal who can be shown a question, or told of it.
  [[nodiscard]] bool is_there() const;
  /// Questions have come or gone.
  void on_change();

 private:
  /// The terminal is ours to read, and reads lines.
  [[nodiscard]] bool reads_lines() const;
  [[nodiscard]] bool may_show() const;
  void show(const PendingQuestion& question);
  void withdraw();
  void read();
  void on_line(std::string_view line);
  void say(std::string_view text) const;

  UniqueFd tty_;
  SideLoop& loop_;
  Questions& questions_;
  const GuestScreen& screen_;
  std::string sandbox_;
  pid_t guest_init_ = -1;
  std::optional<std::uint32_t> shown_;
  std::optional<SideLoop::Timer> retry_;
  std::string line_;
};

/// Whether a process below `guest_init` may take what is typed on the terminal of device `tty`
/// right now: it waits in a read of it, or for something to read. True where that cannot be told.
[[nodiscard]] bool is_terminal_awaited(pid_t guest_init, dev_t tty);

}  // namespace cordon
