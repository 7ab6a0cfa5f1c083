#ifndef HF_SANDBOX_AGENT_HOST_REGISTRY_HPP
#define HF_SANDBOX_AGENT_HOST_REGISTRY_HPP

#include "context.hpp"
#include "host/homes.hpp"
#include "host/sandbox.hpp"
#include "host/sandbox_rules.hpp"
#include "host/settings.hpp"
#include "host/uid_pool.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hf::agent {

/// The sandboxes of an agent in host mode: makes, finds and deletes them. On the event loop's
/// thread; what blocks runs on threads of its own.
///
/// A user id and a home are used again only after the sandbox that had them is known to be gone:
/// no process, no file. One whose end cannot be verified keeps its id for ever.
class sandbox_registry {
 public:
  /// Throws `std::exception` when this machine cannot hold sandboxes: the caller is not root, the
  /// kernel's Landlock is older than the settings want, the homes' directory cannot be made.
  sandbox_registry(context& shared, exec_core& core, host_settings settings);

  /// Makes up to `request.count` sandboxes, as many as there is room for. `http_error` 500 when one
  /// cannot be made; those made before are deleted then.
  boost::asio::awaitable<std::vector<std::shared_ptr<sandbox>>> create(
      wire::create_sandboxes_request const& request);
  /// The sandbox, or null.
  [[nodiscard]] std::shared_ptr<sandbox> find(std::string_view id) const;
  [[nodiscard]] std::vector<std::shared_ptr<sandbox>> list() const;
  [[nodiscard]] std::size_t size() const { return live_.size(); }

  /// Deletes a sandbox: from here on it is not found, starts nothing more, and its processes are
  /// killed. Returns when no process and no file of it is left, or why that is not so.
  boost::asio::awaitable<std::string> remove(std::shared_ptr<sandbox> box);
  /// Deletes sandboxes that have been idle for as long as they may, for ever.
  boost::asio::awaitable<void> evict_idle();

  /// Whether a process with this user id belongs to a sandbox, also to one being deleted.
  [[nodiscard]] bool is_sandbox_uid(uid_t uid) const { return uids_.in_use(uid); }

 private:
  /// Null when the id turns out to be somebody else's.
  boost::asio::awaitable<std::shared_ptr<sandbox>> create_one(
      wire::create_sandboxes_request const& request, uid_t uid);
  boost::asio::awaitable<bool> starts_over(exec_service const& commands);
  [[nodiscard]] command_base base_for(std::string const& id, std::string const& home, uid_t uid,
                                      int ruleset,
                                      wire::create_sandboxes_request const& request) const;

  context& shared_;
  exec_core& core_;
  host_settings settings_;
  home_directory homes_;
  sandbox_rules rules_;
  uid_pool uids_;
  std::unordered_map<std::string, std::shared_ptr<sandbox>> live_;
  std::size_t being_made_ = 0;
  boost::asio::thread_pool housekeeping_;
};

}  // namespace hf::agent

#endif
