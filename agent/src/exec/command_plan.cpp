#include "exec/command_plan.hpp"

#include "confine/entry.hpp"
#include "exec/process_scan.hpp"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

extern char** environ;

namespace hf::agent {
namespace {

std::string_view name_of(std::string_view entry) {
  return entry.substr(0, entry.find('='));
}

// What the system's own words for the error leave open.
std::string_view explanation(spawn_failure const& failure) {
  switch (failure.fault) {
    case program_fault::none:
      break;
    case program_fault::interpreter_missing:
      return "the file is there, but not the interpreter that its first line names, or its dynamic "
             "loader";
    case program_fault::directory:
      return "it is a directory";
    case program_fault::not_executable:
      return "its mode does not let anybody execute it (chmod +x)";
    case program_fault::empty:
      return "the file is empty";
    case program_fault::foreign:
      return "it is neither a script nor a program for this machine";
  }
  if (failure.stage == "exec" && failure.error == ETXTBSY)
    return "somebody has the program open for writing";
  if (failure.stage == "exec" && failure.error == ETIMEDOUT)
    return "the time was over before the program could be opened";
  return {};
}

// The shell reads the script from memory that nobody can change.
unique_fd make_script(std::string const& text) {
  unique_fd script(static_cast<int>(
      ::syscall(SYS_memfd_create, "sbx-command", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!script)
    throw start_error("/bin/sh", {"exec", errno == ENOSYS ? E2BIG : errno});
  std::string_view rest = text;
  while (!rest.empty()) {
    ssize_t const n = ::write(script.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      throw start_error("/bin/sh", {"exec", n < 0 ? errno : ENOMEM});
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  ::fcntl(script.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return script;
}

std::vector<std::string> make_environment(wire::exec_request const& request,
                                          command_base const& base, std::string const& marker,
                                          identity const* user) {
  std::vector<std::string> environment;
  environment.reserve(base.environment.size() + request.env.size() + 2);
  for (auto const& entry : base.environment) {
    auto const name = name_of(entry);
    if ((request.env.empty() || request.env.count(std::string(name)) == 0) &&
        (user == nullptr || name != "HOME"))
      environment.push_back(entry);
  }
  if (user != nullptr && request.env.count("HOME") == 0)
    environment.push_back("HOME=" + user->home);
  for (auto const& variable : request.env)
    if (variable.first != run_marker_variable)
      environment.push_back(variable.first + "=" + variable.second);
  environment.push_back(std::string(run_marker_variable) + "=" + marker);
  return environment;
}

}  // namespace

std::vector<std::string> inherited_environment() {
  std::vector<std::string> result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    auto const name = name_of(*entry);
    if (name != "SBX_TOKEN" && name != run_marker_variable)
      result.emplace_back(*entry);
  }
  return result;
}

command_plan make_plan(wire::exec_request const& request, command_base const& base,
                       std::string const& marker, std::optional<identity> const& user) {
  command_plan made;
  auto& plan = made.plan;
  if (auto const& text = request.script) {
    plan.argv = {"/bin/sh", "-c", *text};
    if (text->size() >= max_argument) {
      made.script = make_script(*text);
      plan.keep = made.script.get();
      plan.argv[2] = ". /proc/self/fd/" + std::to_string(plan.keep);
    }
  } else {
    plan.argv = request.argv;
  }
  plan.cwd = request.cwd.value_or(base.cwd);
  // execve with an empty directory would mean the agent's own.
  if (request.cwd && request.cwd->empty())
    throw start_error(plan.argv.front(), {"chdir", ENOENT});
  plan.user = base.user;
  if (request.user) {
    if (!base.may_choose_user)
      throw http_error{403, "permission_denied", "commands of this sandbox run as its own user"};
    plan.user = user;
    if (!plan.user)
      throw http_error{
          400,
          "exec_failed",
          "failed to spawn '" + plan.argv.front() + "': no such user: " + *request.user,
          {{"stage", "user"}, {"errno", ENOENT}}};
  }
  plan.env = make_environment(request, base, marker, request.user ? &*plan.user : nullptr);
  plan.limits = base.limits;
  for (auto const& [name, most] : request.rlimits.items()) {
    auto const number = limit_by_name(name);
    if (!number)
      throw http_error{400, "invalid_argument", "'rlimits' has an unknown name: " + name};
    auto wanted = most.get<std::uint64_t>();
    for (auto const& [bounded, highest] : base.limits)
      if (bounded == *number && !base.may_raise_limits)
        wanted = (std::min)(wanted, highest);
    plan.limits.emplace_back(*number, wanted);
  }
  plan.nice = request.nice;
  if (base.nice != 0)
    plan.nice = base.nice + (std::max)(request.nice.value_or(0), 0);
  plan.oom_score = base.oom_score;
  plan.landlock_ruleset = base.landlock_ruleset;
  plan.no_new_privileges = base.no_new_privileges;
  plan.seccomp_filter =
      base.seccomp_filter != nullptr ? base.seccomp_filter : confine::command_filter();
  plan.drop_capabilities = base.drop_capabilities;
  plan.new_session = base.new_session;
  return made;
}

http_error start_error(std::string const& program, spawn_failure const& failure) {
  bool const exhausted = failure.exhausted();
  auto text = "failed to spawn '" + program + "': " + std::strerror(failure.error) + " (os error " +
              std::to_string(failure.error) + ")";
  if (auto const why = explanation(failure); !why.empty())
    text.append(": ").append(why);
  return {exhausted ? 503 : 400,
          exhausted ? "resource_exhausted" : "exec_failed",
          std::move(text),
          {{"stage", std::string(failure.stage)}, {"errno", failure.error}}};
}

}  // namespace hf::agent
