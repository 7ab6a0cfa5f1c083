#ifndef HF_SANDBOX_DETAIL_CONNECTION_POOL_HPP
#define HF_SANDBOX_DETAIL_CONNECTION_POOL_HPP

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace hf::detail {

/// Connections that no request uses at the moment, each good for one peer. Safe to use from several
/// threads.
template <class Connection>
class connection_pool {
 public:
  explicit connection_pool(std::size_t max_idle) : max_idle_(max_idle) {}

  /// The connection to this peer that was used last; null when there is none.
  [[nodiscard]] std::unique_ptr<Connection> take(std::string const& peer) {
    std::lock_guard const lock(mutex_);
    auto const found = std::find_if(idle_.rbegin(), idle_.rend(),
                                    [&](auto const& entry) { return entry.first == peer; });
    if (found == idle_.rend())
      return nullptr;
    auto connection = std::move(found->second);
    idle_.erase(std::next(found).base());
    return connection;
  }

  /// Keeps a connection; when there are too many, the one idle for longest is closed.
  void give_back(std::string peer, std::unique_ptr<Connection> connection) {
    std::unique_ptr<Connection> closed;  // outlives the lock: closing may take a moment
    std::lock_guard const lock(mutex_);
    if (max_idle_ == 0) {
      closed = std::move(connection);
      return;
    }
    if (idle_.size() >= max_idle_) {
      closed = std::move(idle_.front().second);
      idle_.erase(idle_.begin());
    }
    idle_.emplace_back(std::move(peer), std::move(connection));
  }

 private:
  std::mutex mutex_;
  std::vector<std::pair<std::string, std::unique_ptr<Connection>>> idle_;
  std::size_t max_idle_;
};

}  // namespace hf::detail

#endif
