#ifndef HF_SANDBOX_AGENT_EXEC_STREAMING_HPP
#define HF_SANDBOX_AGENT_EXEC_STREAMING_HPP

#include "exec/run.hpp"
#include "http/exchange.hpp"

#include <memory>

namespace hf::agent {

/// A caller at a run's output. While there is one, nothing of the output is lost; when the last one
/// has gone, a foreground run lingers or ends.
class attachment {
 public:
  attachment(std::shared_ptr<run> to, std::uint64_t after);
  attachment(attachment const&) = delete;
  attachment& operator=(attachment const&) = delete;
  ~attachment() { leave(); }

  [[nodiscard]] run& target() const noexcept { return *run_; }
  [[nodiscard]] log_reader& reader() noexcept { return reader_; }
  [[nodiscard]] bool left() const noexcept { return left_; }
  void leave();

 private:
  std::shared_ptr<run> run_;
  log_reader reader_;
  bool left_ = false;
};

struct stream_options {
  /// Begins with the start event.
  bool start = false;
  /// Numbered events and exact bytes.
  bool numbered = true;
  /// Goes on until the run ends; else ends with what is there now.
  bool follow = true;
};

/// Answers with a run's events, from the attachment's place on. The answer ends cleanly only behind
/// the exit event, or where `follow` is off; otherwise the connection is dropped.
boost::asio::awaitable<void> stream_events(exchange& ex, exec_core& core, attachment& place,
                                           stream_options options);

}  // namespace hf::agent

#endif
