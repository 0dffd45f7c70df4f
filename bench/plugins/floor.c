/* The same kernel operations as bridge, host-local, ipMasq and portmap, from a bare netlink loop; see floor.h.
 * Table `inet floor` with the set `sources` and the map `ports` must be there. */
#define _GNU_SOURCE
#include "floor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    char bytes[2048];
} Buffer;

typedef struct {
    const char *netns, *ifname, *bridge, *leases;
    int pod;
    bool masquerade;
    int port; /* 0: none */
    uint32_t address, gateway;
    int own, container; /* namespaces */
} Work;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static const char *parameter(char **all, const char *name) {
    size_t length = strlen(name);
    for (; *all; all++)
        if (!strncmp(*all, name, length) && (*all)[length] == '=') return *all + length + 1;
    return NULL;
}

/* ---- messages ---- */

static struct nlmsghdr *message(Buffer *buffer, int type, int flags, const void *payload, size_t size) {
    struct nlmsghdr *head = (void *)buffer->bytes;
    memset(head, 0, NLMSG_SPACE(size));
    head->nlmsg_len = NLMSG_SPACE(size);
    head->nlmsg_type = type;
    head->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    memcpy(NLMSG_DATA(head), payload, size);
    return head;
}

static struct rtattr *put(struct nlmsghdr *head, int type, const void *value, size_t size) {
    struct rtattr *attribute = (void *)((char *)head + NLMSG_ALIGN(head->nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(size);
    if (size) memcpy(RTA_DATA(attribute), value, size);
    head->nlmsg_len = NLMSG_ALIGN(head->nlmsg_len) + RTA_ALIGN(attribute->rta_len);
    return attribute;
}

static struct rtattr *put_text(struct nlmsghdr *head, int type, const char *text) {
    return put(head, type, text, strlen(text) + 1);
}

static void end(struct nlmsghdr *head, struct rtattr *nest) {
    nest->rta_len = (char *)head + head->nlmsg_len - (char *)nest;
}

static int opened(int protocol) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    struct sockaddr_nl anybody = {.nl_family = AF_NETLINK};
    if (descriptor < 0 || bind(descriptor, (void *)&anybody, sizeof anybody)) fail("netlink");
    return descriptor;
}

/* Sends and reads until the acknowledgement; the first answer's payload goes to `answer`. Returns its length. */
static int talk(int socket, const struct nlmsghdr *head, void *answer, size_t room) {
    static __thread char bytes[65536];
    int kept = 0;
    if (send(socket, head, head->nlmsg_len, 0) < 0) fail("send");
    for (;;) {
        int length = recv(socket, bytes, sizeof bytes, 0);
        if (length < 0) fail("recv");
        for (struct nlmsghdr *one = (void *)bytes; NLMSG_OK(one, length); one = NLMSG_NEXT(one, length)) {
            if (one->nlmsg_type == NLMSG_DONE) return kept;
            if (one->nlmsg_type == NLMSG_ERROR) {
                errno = -((struct nlmsgerr *)NLMSG_DATA(one))->error;
                if (errno) fail("netlink answer");
                return kept;
            }
            if (!kept && answer) memcpy(answer, NLMSG_DATA(one), kept = room);
        }
    }
}

/* ---- links ---- */

static struct ifinfomsg link_of(int socket, const char *name) {
    Buffer buffer;
    struct ifinfomsg wanted = {0}, found;
    struct nlmsghdr *head = message(&buffer, RTM_GETLINK, 0, &wanted, sizeof wanted);
    put_text(head, IFLA_IFNAME, name);
    talk(socket, head, &found, sizeof found);
    return found;
}

/* One of each, as our plugins make them: see QUEUES in net/container.py. */
static void put_queues(struct nlmsghdr *head) {
    int one = 1;
    put(head, IFLA_NUM_TX_QUEUES, &one, 4);
    put(head, IFLA_NUM_RX_QUEUES, &one, 4);
}

static void make_pair(int socket, const Work *work, const char *outer, int master) {
    Buffer buffer;
    struct ifinfomsg none = {0};
    struct nlmsghdr *head = message(&buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &none, sizeof none);
    put_text(head, IFLA_IFNAME, outer);
    put(head, IFLA_MASTER, &master, 4);
    put_queues(head);
    struct rtattr *info = put(head, IFLA_LINKINFO, NULL, 0);
    put(head, IFLA_INFO_KIND, "veth", 4);
    struct rtattr *data = put(head, IFLA_INFO_DATA, NULL, 0);
    struct rtattr *peer = put(head, VETH_INFO_PEER, &none, sizeof none);
    put_text(head, IFLA_IFNAME, work->ifname);
    put(head, IFLA_NET_NS_FD, &work->container, 4);
    put_queues(head);
    end(head, peer);
    end(head, data);
    end(head, info);
    talk(socket, head, NULL, 0);
}

static void set_up(int socket, int index, const char *alias) {
    Buffer buffer;
    struct ifinfomsg wanted = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    struct nlmsghdr *head = message(&buffer, RTM_NEWLINK, 0, &wanted, sizeof wanted);
    if (alias) put(head, IFLA_IFALIAS, alias, strlen(alias));
    talk(socket, head, NULL, 0);
}

static void delete_link(int socket, int index) {
    Buffer buffer;
    struct ifinfomsg wanted = {.ifi_index = index};
    talk(socket, message(&buffer, RTM_DELLINK, 0, &wanted, sizeof wanted), NULL, 0);
}

/* ---- addresses and routes ---- */

static void add_address(int socket, const Work *work, int index) {
    Buffer buffer;
    struct ifaddrmsg wanted = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = index};
    uint32_t broadcast = work->address | htonl(0xffff);
    struct nlmsghdr *head = message(&buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &wanted, sizeof wanted);
    put(head, IFA_LOCAL, &work->address, 4);
    put(head, IFA_ADDRESS, &work->address, 4);
    put(head, IFA_BROADCAST, &broadcast, 4);
    talk(socket, head, NULL, 0);
}

static void add_default_route(int socket, const Work *work, int index) {
    Buffer buffer;
    struct rtmsg wanted = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                           .rtm_type = RTN_UNICAST};
    struct nlmsghdr *head = message(&buffer, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &wanted, sizeof wanted);
    put(head, RTA_GATEWAY, &work->gateway, 4);
    put(head, RTA_OIF, &index, 4);
    talk(socket, head, NULL, 0);
}

static void dump(int socket, int type) {
    Buffer buffer;
    struct rtmsg wanted = {.rtm_family = AF_INET};
    talk(socket, message(&buffer, type, NLM_F_DUMP, &wanted, sizeof wanted), NULL, 0);
}

static void write_file(const char *path, int flags, const char *text) {
    int descriptor = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
    if (descriptor < 0 || write(descriptor, text, strlen(text)) < 0) fail(path);
    close(descriptor);
}

static void write_sysctls(const Work *work) {
    static const char *const names[] = {"ipv4/conf/%s/arp_notify", "ipv6/conf/%s/ndisc_notify",
                                        "ipv6/conf/%s/accept_dad", "ipv6/conf/%s/enhanced_dad"};
    for (int i = 0; i < 4; i++) {
        char path[128] = "/proc/sys/net/";
        sprintf(path + strlen(path), names[i], work->ifname);
        write_file(path, 0, i < 2 ? "1" : "0");
    }
}

/* ---- nftables ---- */

static char *framed(char *place, int type, int flags, int resource) {
    struct nfgenmsg family = {.nfgen_family = resource ? AF_UNSPEC : 1 /* inet */, .res_id = htons(resource)};
    struct nlmsghdr *head = message((Buffer *)place, type, 0, &family, sizeof family);
    head->nlmsg_flags = NLM_F_REQUEST | flags;
    return place + head->nlmsg_len;
}

/* One batch with one element; `data` is NULL in a set. */
static void element(int socket, int type, int flags, const char *set, const void *key, const void *data, int size) {
    Buffer buffer;
    char *place = framed(buffer.bytes, NFNL_MSG_BATCH_BEGIN, 0, NFNL_SUBSYS_NFTABLES);
    struct nlmsghdr *head = (void *)place;
    framed(place, NFNL_SUBSYS_NFTABLES << 8 | type, flags | NLM_F_ACK, 0);
    put_text(head, NFTA_SET_ELEM_LIST_TABLE, "floor");
    put_text(head, NFTA_SET_ELEM_LIST_SET, set);
    struct rtattr *list = put(head, NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED, NULL, 0);
    struct rtattr *one = put(head, NFTA_LIST_ELEM | NLA_F_NESTED, NULL, 0);
    struct rtattr *nest = put(head, NFTA_SET_ELEM_KEY | NLA_F_NESTED, NULL, 0);
    put(head, NFTA_DATA_VALUE, key, size);
    end(head, nest);
    if (data) {
        nest = put(head, NFTA_SET_ELEM_DATA | NLA_F_NESTED, NULL, 0);
        put(head, NFTA_DATA_VALUE, data, 8);
        end(head, nest);
    }
    end(head, one);
    end(head, list);
    if (type == NFT_MSG_GETSETELEM) {
        talk(socket, head, NULL, 0);
        return;
    }
    char *last = framed((char *)head + head->nlmsg_len, NFNL_MSG_BATCH_END, 0, NFNL_SUBSYS_NFTABLES);
    struct nlmsghdr *first = (void *)buffer.bytes;
    struct iovec whole = {first, last - buffer.bytes};
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    struct msghdr envelope = {.msg_name = &kernel, .msg_namelen = sizeof kernel, .msg_iov = &whole, .msg_iovlen = 1};
    char answer[4096];
    if (sendmsg(socket, &envelope, 0) < 0) fail("nfnetlink");
    if (recv(socket, answer, sizeof answer, 0) < 0) fail("nfnetlink answer");
    struct nlmsghdr *said = (void *)answer;
    errno = said->nlmsg_type == NLMSG_ERROR ? -((struct nlmsgerr *)NLMSG_DATA(said))->error : EPROTO;
    if (errno) fail("nfnetlink element");
}

/* The socket is the thread's to its end: closing it waits until the kernel has destroyed what was deleted. */
static void elements(const Work *work, int type, int flags) {
    static __thread int socket = -1;
    if (!work->masquerade && !work->port) return;
    if (socket < 0) socket = opened(NETLINK_NETFILTER);
    unsigned char key[8] = {6}, data[8] = {0};
    uint16_t outer = htons(work->port + work->pod), inner = htons(80);
    memcpy(key + 4, &outer, 2);
    memcpy(data, &work->address, 4);
    memcpy(data + 4, &inner, 2);
    if (work->masquerade) element(socket, type, flags, "sources", &work->address, NULL, 4);
    if (work->port) element(socket, type, flags, "ports", key, type == NFT_MSG_NEWSETELEM ? data : NULL, 8);
}

/* ---- leases ---- */

static void lease_path(const Work *work, char *path) {
    char address[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &work->address, address, sizeof address);
    sprintf(path, "%s/%s", work->leases, address);
}

static void lease(const Work *work, const char *verb) {
    char path[512], lock_path[512], last[512];
    lease_path(work, path);
    sprintf(lock_path, "%s/lock", work->leases);
    sprintf(last, "%s/last_reserved_ip.0", work->leases);
    int lock = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX)) fail(lock_path);
    if (!strcmp(verb, "ADD")) {
        write_file(path, O_CREAT | O_EXCL, "container\r\neth0");
        write_file(last, O_CREAT | O_TRUNC, strrchr(path, '/') + 1);
    } else if (!strcmp(verb, "DEL")) {
        if (unlink(path)) fail(path);
    } else if (access(path, R_OK)) {
        fail(path);
    }
    close(lock);
}

/* ---- verbs ---- */

static int opened_inside(const Work *work) {
    if (setns(work->container, CLONE_NEWNET)) fail("setns");
    int socket = opened(NETLINK_ROUTE);
    if (setns(work->own, CLONE_NEWNET)) fail("setns back");
    return socket;
}

static void add(const Work *work) {
    char outer[IFNAMSIZ], alias[64];
    lease(work, "ADD");
    int host = opened(NETLINK_ROUTE), inside = opened_inside(work);
    snprintf(outer, sizeof outer, "vethf%04d", work->pod);
    snprintf(alias, sizeof alias, "net/container-%d/%s", work->pod, work->ifname);
    make_pair(host, work, outer, link_of(host, work->bridge).ifi_index);
    set_up(host, link_of(host, outer).ifi_index, alias);
    setns(work->container, CLONE_NEWNET);
    write_sysctls(work);
    setns(work->own, CLONE_NEWNET);
    int index = link_of(inside, work->ifname).ifi_index;
    add_address(inside, work, index);
    set_up(inside, index, NULL);
    add_default_route(inside, work, index);
    elements(work, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL);
    link_of(inside, work->ifname);
    while (!(link_of(host, outer).ifi_flags & IFF_RUNNING)) usleep(100);
    close(host);
    close(inside);
}

static void check(const Work *work) {
    int host = opened(NETLINK_ROUTE), inside = opened_inside(work);
    lease(work, "CHECK");
    link_of(host, work->bridge);
    link_of(inside, work->ifname);
    dump(inside, RTM_GETADDR);
    dump(inside, RTM_GETROUTE);
    dump(host, RTM_GETADDR);
    elements(work, NFT_MSG_GETSETELEM, 0);
    close(host);
    close(inside);
}

static void delete(const Work *work) {
    int inside = opened_inside(work);
    delete_link(inside, link_of(inside, work->ifname).ifi_index);
    lease(work, "DEL");
    elements(work, NFT_MSG_GETSETELEM, 0);
    elements(work, NFT_MSG_DELSETELEM, 0);
    close(inside);
}

static void bring_up(const Work *work) {
    int inside = opened_inside(work);
    int index = link_of(inside, "lo").ifi_index;
    set_up(inside, index, NULL);
    dump(inside, RTM_GETADDR);
    close(inside);
}

void floor_step(const char *verb, char **parameters) {
    const char *prefix = parameter(parameters, "PREFIX"), *port = parameter(parameters, "PORT");
    Work work = {.netns = parameter(parameters, "NETNS"), .ifname = parameter(parameters, "IFNAME"),
                 .bridge = parameter(parameters, "BRIDGE"), .leases = parameter(parameters, "LEASES"),
                 .pod = atoi(parameter(parameters, "POD")), .masquerade = parameter(parameters, "MASQUERADE") != NULL,
                 .port = port ? atoi(port) : 0};
    int first, second;
    sscanf(prefix ? prefix : "127.0", "%d.%d", &first, &second);
    work.gateway = htonl(first << 24 | second << 16 | 1);
    work.address = htonl(ntohl(work.gateway) + 1 + work.pod);
    work.own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    work.container = open(work.netns, O_RDONLY | O_CLOEXEC);
    if (work.own < 0 || work.container < 0) fail(work.netns);
    if (!strcmp(verb, "ADD")) add(&work);
    else if (!strcmp(verb, "CHECK")) check(&work);
    else if (!strcmp(verb, "DEL")) delete(&work);
    else bring_up(&work);
    close(work.own);
    close(work.container);
}
