# Sourced after tests/hosts.sh by test scripts that want Slurm: a cluster of its own, whose nodes
# are the hosts of hosts_up, and whose controller is this one. Nothing outside is touched, nothing
# of it outlives the script.
#
#     slurm_missing        why there can be none; empty: there can
#     slurm_up N           after hosts_up N: its nodes h0, h1, ... take jobs; else says why not
#     slurm_wait JOB       until the job has ended, two minutes at most; prints its state

slurm_missing=
for word in slurmctld slurmd srun sbatch; do
    command -v $word > /dev/null || { slurm_missing="$word is not installed"; break; }
done
if [ -z "$slurm_missing" ]; then
    slurm_plugins=$(dirname "$(find /usr/lib /usr/local/lib /opt -name auth_none.so 2> /dev/null \
        | head -n 1)")
    [ -e "$slurm_plugins/mpi_pmix.so" ] || slurm_missing='this Slurm has no PMIx, or no auth/none'
fi

slurm_up() {
    local folder=$WORK/slurm

    mkdir -p "$folder/state"
    export SLURM_CONF=$folder/slurm.conf
    cat > "$SLURM_CONF" << C
ClusterName=test
SlurmctldHost=control(10.77.0.254)
SlurmUser=root
AuthType=auth/none
CredType=cred/none
MailProg=/bin/true
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/control.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/control.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
InactiveLimit=0
KillWait=5
TmpFS=$folder/tmp.%n
$(for ((h = 0; h < $1; h++)); do echo "NodeName=h$h NodeAddr=10.77.0.$((h + 1)) CPUs=$(nproc)"; done)
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
C
    unshare --uts bash -c 'hostname control; exec slurmctld -D' > "$folder/control.out" 2>&1 &
    for ((h = 0; h < $1; h++)); do
        mkdir "$folder/spool.h$h" "$folder/tmp.h$h"
        nsenter --net=/run/netns/h$h unshare --uts taskset \
            -c $((h % $(nproc))) bash -c "hostname h$h; exec slurmd -D" > "$folder/h$h.out" 2>&1 &
    done
    for ((i = 0; i < 300; i++)); do
        [ "$(sinfo --noheader --states idle --Node 2> /dev/null | wc -l)" -eq "$1" ] && return
        sleep 0.1
    done
    echo 'the nodes do not become idle:'
    sinfo
    tail -n 5 "$folder"/*.out "$folder"/*.log
    return 1
}

slurm_wait() {
    local state
    for ((i = 0; i < 600; i++)); do
        state=$(scontrol show job "$1" 2> /dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p')
        case $state in PENDING | CONFIGURING | RUNNING | COMPLETING) sleep 0.2 ;; *) break ;; esac
    done
    echo "$state"
}
