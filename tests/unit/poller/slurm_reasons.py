"""The reasons that squeue prints, by name: for what reads them and for the pages that explain them."""

# squeue(1), JOB REASON CODES, of 22.05.8, its own `*` too.
SQUEUE_REASONS = [
    "AssocGrp*Limit", "AssociationJobLimit", "AssocMax*Limit", "AssociationResourceLimit", "AssociationTimeLimit",
    "BadConstraints", "BeginTime", "Cleaning", "Dependency", "DependencyNeverSatisfied", "FrontEndDown",
    "InactiveLimit", "InvalidAccount", "InvalidQOS", "JobHeldAdmin", "JobHeldUser", "JobLaunchFailure", "Licenses",
    "NodeDown", "NonZeroExitCode", "PartitionDown", "PartitionInactive", "PartitionNodeLimit", "PartitionTimeLimit",
    "Priority", "Prolog", "QOSGrp*Limit", "QOSJobLimit", "QOSMax*Limit", "QOSResourceLimit", "QOSTimeLimit",
    "QOSUsageThreshold", "ReqNodeNotAvail", "Reservation", "Resources", "SystemFailure", "TimeLimit",
    "WaitingForScheduling",
]  # fmt: skip
# job_reason_codes.html, the whole list, to which newer manual pages refer.
REASON_CODES = [
    "AccountingPolicy", "AccountNotAllowed", "AssocGrpBB", "AssocGrpBBMinutes", "AssocGrpBBRunMinutes",
    "AssocGrpBilling", "AssocGrpBillingMinutes", "AssocGrpBillingRunMinutes", "AssocGrpCpuLimit",
    "AssocGrpCPUMinutesLimit", "AssocGrpCPURunMinutesLimit", "AssocGrpEnergy", "AssocGrpEnergyMinutes",
    "AssocGrpEnergyRunMinutes", "AssocGrpGRES", "AssocGrpGRESMinutes", "AssocGrpGRESRunMinutes", "AssocGrpJobsLimit",
    "AssocGrpLicense", "AssocGrpLicenseMinutes", "AssocGrpLicenseRunMinutes", "AssocGrpMemLimit", "AssocGrpMemMinutes",
    "AssocGrpMemRunMinutes", "AssocGrpNodeLimit", "AssocGrpNodeMinutes", "AssocGrpNodeRunMinutes",
    "AssocGrpSubmitJobsLimit", "AssocGrpUnknown", "AssocGrpUnknownMinutes", "AssocGrpUnknownRunMinutes",
    "AssocGrpWallLimit", "AssociationJobLimit", "AssociationResourceLimit", "AssociationTimeLimit",
    "AssocMaxBBMinutesPerJob", "AssocMaxBBPerJob", "AssocMaxBBPerNode", "AssocMaxBillingMinutesPerJob",
    "AssocMaxBillingPerJob", "AssocMaxBillingPerNode", "AssocMaxCpuMinutesPerJobLimit", "AssocMaxCpuPerJobLimit",
    "AssocMaxCpuPerNode", "AssocMaxEnergyMinutesPerJob", "AssocMaxEnergyPerJob", "AssocMaxEnergyPerNode",
    "AssocMaxGRESMinutesPerJob", "AssocMaxGRESPerJob", "AssocMaxGRESPerNode", "AssocMaxJobsLimit",
    "AssocMaxLicenseMinutesPerJob", "AssocMaxLicensePerJob", "AssocMaxMemMinutesPerJob", "AssocMaxMemPerJob",
    "AssocMaxMemPerNode", "AssocMaxNodeMinutesPerJob", "AssocMaxNodePerJobLimit", "AssocMaxSubmitJobLimit",
    "AssocMaxUnknownMinutesPerJob", "AssocMaxUnknownPerJob", "AssocMaxUnknownPerNode",
    "AssocMaxWallDurationPerJobLimit", "BadConstraints", "BeginTime", "BurstBufferOperation", "BurstBufferResources",
    "BurstBufferStageIn", "Cleaning", "Constraints", "DeadLine", "Dependency", "DependencyNeverSatisfied", "FedJobLock",
    "InactiveLimit", "InvalidAccount", "InvalidQOS", "JobArrayTaskLimit", "JobHeldAdmin", "JobHeldUser",
    "JobHoldMaxRequeue", "JobLaunchFailure", "Licenses", "MaxBBPerAccount", "MaxBillingPerAccount", "MaxCpuPerAccount",
    "MaxEnergyPerAccount", "MaxGRESPerAccount", "MaxJobsPerAccount", "MaxLicensePerAccount", "MaxMemoryPerAccount",
    "MaxMemPerLimit", "MaxNodePerAccount", "MaxSubmitJobsPerAccount", "MaxUnknownPerAccount", "NodeDown",
    "NonZeroExitCode", "None", "OutOfMemory", "PartitionConfig", "PartitionDown", "PartitionInactive",
    "PartitionNodeLimit", "PartitionTimeLimit", "Priority", "Prolog", "QOSGrpBB", "QOSGrpBBMinutes",
    "QOSGrpBBRunMinutes", "QOSGrpBilling", "QOSGrpBillingMinutes", "QOSGrpBillingRunMinutes", "QOSGrpCpuLimit",
    "QOSGrpCPUMinutesLimit", "QOSGrpCPURunMinutesLimit", "QOSGrpEnergy", "QOSGrpEnergyMinutes",
    "QOSGrpEnergyRunMinutes", "QOSGrpGRES", "QOSGrpGRESMinutes", "QOSGrpGRESRunMinutes", "QOSGrpJobsLimit",
    "QOSGrpLicense", "QOSGrpLicenseMinutes", "QOSGrpLicenseRunMinutes", "QOSGrpMemLimit", "QOSGrpMemoryMinutes",
    "QOSGrpMemoryRunMinutes", "QOSGrpNodeLimit", "QOSGrpNodeMinutes", "QOSGrpNodeRunMinutes", "QOSGrpSubmitJobsLimit",
    "QOSGrpUnknown", "QOSGrpUnknownMinutes", "QOSGrpUnknownRunMinutes", "QOSGrpWallLimit", "QOSJobLimit",
    "QOSMaxBBMinutesPerJob", "QOSMaxBBPerJob", "QOSMaxBBPerNode", "QOSMaxBBPerUser", "QOSMaxBillingMinutesPerJob",
    "QOSMaxBillingPerJob", "QOSMaxBillingPerNode", "QOSMaxBillingPerUser", "QOSMaxCpuMinutesPerJobLimit",
    "QOSMaxCpuPerJobLimit", "QOSMaxCpuPerNode", "QOSMaxCpuPerUserLimit", "QOSMaxEnergyMinutesPerJob",
    "QOSMaxEnergyPerJob", "QOSMaxEnergyPerNode", "QOSMaxEnergyPerUser", "QOSMaxGRESMinutesPerJob", "QOSMaxGRESPerJob",
    "QOSMaxGRESPerNode", "QOSMaxGRESPerUser", "QOSMaxJobsPerUserLimit", "QOSMaxLicenseMinutesPerJob",
    "QOSMaxLicensePerJob", "QOSMaxLicensePerUser", "QOSMaxMemoryMinutesPerJob", "QOSMaxMemoryPerJob",
    "QOSMaxMemoryPerNode", "QOSMaxMemoryPerUser", "QOSMaxNodeMinutesPerJob", "QOSMaxNodePerJobLimit",
    "QOSMaxNodePerUserLimit", "QOSMaxSubmitJobPerUserLimit", "QOSMaxUnknownMinutesPerJob", "QOSMaxUnknownPerJob",
    "QOSMaxUnknownPerNode", "QOSMaxUnknownPerUser", "QOSMaxWallDurationPerJobLimit", "QOSMinBB", "QOSMinBilling",
    "QOSMinCpuNotSatisfied", "QOSMinEnergy", "QOSMinGRES", "QOSMinLicense", "QOSMinMemory", "QOSMinNode",
    "QOSMinUnknown", "QOSNotAllowed", "QOSResourceLimit", "QOSTimeLimit", "QOSUsageThreshold", "ReqNodeNotAvail",
    "Reservation", "ReservationDeleted", "Resources", "SchedDefer", "SystemFailure", "TimeLimit",
]  # fmt: skip
# In no manual, but in Slurm's own list: the library of 22.05.8, and job_state_reason.c of later ones.
UNDOCUMENTED_REASONS = [
    "BlockFreeAction", "BlockMaxError", "PowerNotAvail", "PowerReserved", "RaisedSignal", "ReservationInvalid",
]  # fmt: skip
# And what slurmctld writes in place of a code, with what may follow.
SENTENCES = [
    "job requeued in held state", "job requeued in special exit state", "launch failed requeued held",
    "ReqNodeNotAvail, May be reserved for other job", "ReqNodeNotAvail, Reserved for maintenance",
    "ReqNodeNotAvail, UnavailableNodes:n[1-4,7]", "RaisedSignal:53(Real-time_signal_19)",
    "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
]  # fmt: skip
