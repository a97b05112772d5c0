// A terminal of the command's own (--new-session): a pseudo-terminal whose far end is copied to and
// from the user's. The user's terminal is raw meanwhile, so that ^C, ^Z and the rest mean what they
// mean inside; it gets its settings back at the end.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <termios.h>
#include <vector>

#include "netstack/base/result.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon {

class Terminal {
 public:
  /// nullptr where none of 0, 1 and 2 is a terminal: then there is nothing to stand in for.
  [[nodiscard]] static Result<std::unique_ptr<Terminal>> open();
  /// Gives the user's terminal its settings back, if that is still to do.
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  /// The command's end, until close_commands_end().
  [[nodiscard]] int commands_end() const { return slave_.get(); }
  void close_commands_end() { slave_.reset(); }
  /// Our end, which stays ours.
  [[nodiscard]] int master() const { return master_.get(); }

  /// From here on octets are copied, and the user's terminal is raw.
  void start();
  /// The user's window has another size now.
  void resize();

  /// Whether what is typed comes through here: standard input is the user's terminal.
  [[nodiscard]] bool has_input() const { return input_ >= 0; }
  /// The device that the command has open.
  [[nodiscard]] dev_t commands_device() const { return commands_device_; }
  /// From now on what is typed goes to `taker` and not to the command; an empty one ends that. The
  /// taker may end it while it is called.
  using Taker = std::function<void(std::string_view typed)>;
  void divert(Taker taker) { taker_ = std::move(taker); }
  /// To the command, as if it had not been diverted.
  void pass_on(char key) { to_command_.push_back(key); }

  /// What is to be waited for, and what to do when one of them is ready. `waits` is appended to.
  void add_waits(std::vector<pollfd>& waits) const;
  void on_ready(const pollfd& ready);

  /// The command has ended: copies what it wrote last, and gives the user's terminal its settings
  /// back.
  void finish();

 private:
  Terminal(UniqueFd master, UniqueFd slave, int user);
  void take_typed();
  void restore();

  UniqueFd master_;
  UniqueFd slave_;
  int user_;   // one of 0, 1 and 2
  int input_;  // 0 where that is a terminal, else none: −1
  int output_;
  std::optional<termios> saved_;
  std::string to_command_;
  std::string to_user_;
  dev_t commands_device_ = 0;
  Taker taker_;
};

}  // namespace cordon
