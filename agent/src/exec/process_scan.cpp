#include "exec/process_scan.hpp"

#include "detail/unique_fd.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace hf::agent {
namespace {

#ifndef SYS_pidfd_open
constexpr long pidfd_open_number = 434;
#else
constexpr long pidfd_open_number = SYS_pidfd_open;
#endif
#ifndef SYS_pidfd_send_signal
constexpr long pidfd_send_signal_number = 424;
#else
constexpr long pidfd_send_signal_number = SYS_pidfd_send_signal;
#endif

std::string proc_path(pid_t pid, char const* file) {
  return "/proc/" + std::to_string(pid) + "/" + file;
}

template <class T>
T field(std::string_view& text) {
  T value{};
  while (!text.empty() && text.front() == ' ')
    text.remove_prefix(1);
  auto const end = text.find(' ');
  auto const word = text.substr(0, end);
  std::from_chars(word.data(), word.data() + word.size(), value);
  text.remove_prefix(word.size());
  return value;
}

}  // namespace

std::optional<process_info> look_at_process(pid_t pid) {
  unique_fd const file(::open(proc_path(pid, "stat").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    return std::nullopt;
  char buffer[1024];
  ssize_t const n = ::read(file.get(), buffer, sizeof buffer);
  if (n <= 0)
    return std::nullopt;
  std::string_view text(buffer, static_cast<std::size_t>(n));
  // The name in parentheses can contain anything.
  auto const name_end = text.rfind(')');
  if (name_end == text.npos || name_end + 3 > text.size())
    return std::nullopt;
  text.remove_prefix(name_end + 2);
  process_info info;
  info.pid = pid;
  info.state = text.front();
  text.remove_prefix(1);
  info.parent = field<pid_t>(text);
  info.group = field<pid_t>(text);
  info.session = field<pid_t>(text);
  for (int skipped = 7; skipped < 22; ++skipped)
    (void)field<long long>(text);
  info.started = field<std::uint64_t>(text);
  return info;
}

std::vector<process_info> scan_processes() {
  std::vector<process_info> all;
  DIR* const directory = ::opendir("/proc");
  if (directory == nullptr)
    return all;
  while (dirent const* const entry = ::readdir(directory)) {
    pid_t pid = 0;
    char const* const end = entry->d_name + std::strlen(entry->d_name);
    auto const parsed = std::from_chars(entry->d_name, end, pid);
    if (parsed.ec != std::errc() || parsed.ptr != end)
      continue;
    if (auto info = look_at_process(pid))
      all.push_back(*info);
  }
  ::closedir(directory);
  return all;
}

std::optional<std::string> read_run_marker(pid_t pid) {
  unique_fd const file(::open(proc_path(pid, "environ").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file)
    return std::nullopt;
  std::string text;
  char buffer[16384];
  for (;;) {
    ssize_t const n = ::read(file.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0 || text.size() > (8u << 20))
      break;
    text.append(buffer, static_cast<std::size_t>(n));
  }
  std::string const wanted = std::string(run_marker_variable) + "=";
  for (std::size_t at = 0; at < text.size();) {
    auto const end = (std::min)(text.find('\0', at), text.size());
    if (text.compare(at, wanted.size(), wanted) == 0)
      return text.substr(at + wanted.size(), end - at - wanted.size());
    at = end + 1;
  }
  return std::nullopt;
}

std::uint64_t ticks_now() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  static auto const per_second = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return static_cast<std::uint64_t>(now.tv_sec) * per_second +
         static_cast<std::uint64_t>(now.tv_nsec) * per_second / 1'000'000'000;
}

bool signal_process(process_info const& process, int signal) {
  unique_fd const handle(static_cast<int>(::syscall(pidfd_open_number, process.pid, 0)));
  if (!handle && errno == ESRCH)
    return false;
  // Whoever has the pid now is held by the handle: is it still the one that was meant?
  auto const now = look_at_process(process.pid);
  if (!now || now->started != process.started || now->dead())
    return false;
  if (!handle)
    return ::kill(process.pid, signal) == 0;
  return ::syscall(pidfd_send_signal_number, handle.get(), signal, nullptr, 0) == 0;
}

}  // namespace hf::agent
