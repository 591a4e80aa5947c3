"""The standard's names for its numbers (ASHRAE 135 clauses 18 and 21).

Each table is a text: names in the order of their numbers, a number wherever the count jumps. A number without a name here is the
vendor's (or a later revision's) and is spelled as text by those who need a text.
"""

from collections.abc import Mapping
from types import MappingProxyType


def _table(text: str) -> Mapping[int, str]:
    names: dict[int, str] = {}
    number = 0
    for word in text.split():
        if word.isdecimal():
            number = int(word)
        else:
            names[number] = word
            number += 1
    return MappingProxyType(names)


def name_of(table: Mapping[int, str], number: int) -> str:
    """The name of `number`, or the number as text."""
    return table.get(number) or str(number)


def unit_name(number: int) -> str:
    """Engineering units in camelCase, `unit-N` for the vendor's."""
    return UNITS.get(number) or f"unit-{number}"


UNITS = _table(
    """
    0 squareMeters squareFeet milliamperes amperes ohms volts kilovolts megavolts voltAmperes kilovoltAmperes megavoltAmperes
    voltAmperesReactive kilovoltAmperesReactive megavoltAmperesReactive degreesPhase powerFactor joules kilojoules wattHours
    kilowattHours btus therms tonHours joulesPerKilogramDryAir btusPerPoundDryAir cyclesPerHour cyclesPerMinute hertz
    gramsOfWaterPerKilogramDryAir percentRelativeHumidity millimeters meters inches feet wattsPerSquareFoot
    wattsPerSquareMeter lumens luxes footCandles kilograms poundsMass tons kilogramsPerSecond kilogramsPerMinute
    kilogramsPerHour poundsMassPerMinute poundsMassPerHour watts kilowatts megawatts btusPerHour horsepower tonsRefrigeration
    pascals kilopascals bars poundsForcePerSquareInch centimetersOfWater inchesOfWater millimetersOfMercury
    centimetersOfMercury inchesOfMercury degreesCelsius degreesKelvin degreesFahrenheit degreeDaysCelsius degreeDaysFahrenheit
    years months weeks days hours minutes seconds metersPerSecond kilometersPerHour feetPerSecond feetPerMinute milesPerHour
    cubicFeet cubicMeters imperialGallons liters usGallons cubicFeetPerMinute cubicMetersPerSecond imperialGallonsPerMinute
    litersPerSecond litersPerMinute usGallonsPerMinute degreesAngular degreesCelsiusPerHour degreesCelsiusPerMinute
    degreesFahrenheitPerHour degreesFahrenheitPerMinute noUnits partsPerMillion partsPerBillion percent percentPerSecond
    perMinute perSecond psiPerDegreeFahrenheit radians revolutionsPerMinute currency1 currency2 currency3 currency4 currency5
    currency6 currency7 currency8 currency9 currency10 squareInches squareCentimeters btusPerPound centimeters
    poundsMassPerSecond deltaDegreesFahrenheit deltaDegreesKelvin kilohms megohms millivolts kilojoulesPerKilogram megajoules
    joulesPerDegreeKelvin joulesPerKilogramDegreeKelvin kilohertz megahertz perHour milliwatts hectopascals millibars
    cubicMetersPerHour litersPerHour kilowattHoursPerSquareMeter kilowattHoursPerSquareFoot megajoulesPerSquareMeter
    megajoulesPerSquareFoot wattsPerSquareMeterDegreeKelvin cubicFeetPerSecond percentObscurationPerFoot
    percentObscurationPerMeter milliohms megawattHours kiloBtus megaBtus kilojoulesPerKilogramDryAir
    megajoulesPerKilogramDryAir kilojoulesPerDegreeKelvin megajoulesPerDegreeKelvin newton gramsPerSecond gramsPerMinute
    tonsPerHour kiloBtusPerHour hundredthsSeconds milliseconds newtonMeters millimetersPerSecond millimetersPerMinute
    metersPerMinute metersPerHour cubicMetersPerMinute metersPerSecondPerSecond amperesPerMeter amperesPerSquareMeter
    ampereSquareMeters farads henrys ohmMeters siemens siemensPerMeter teslas voltsPerDegreeKelvin voltsPerMeter webers
    candelas candelasPerSquareMeter degreesKelvinPerHour degreesKelvinPerMinute jouleSeconds radiansPerSecond
    squareMetersPerNewton kilogramsPerCubicMeter newtonSeconds newtonsPerMeter wattsPerMeterPerDegreeKelvin microSiemens
    cubicFeetPerHour usGallonsPerHour kilometers micrometers grams milligrams milliliters millilitersPerSecond decibels
    decibelsMillivolt decibelsVolt millisiemens wattHoursReactive kilowattHoursReactive megawattHoursReactive
    millimetersOfWater perMille gramsPerGram kilogramsPerKilogram gramsPerKilogram milligramsPerGram milligramsPerKilogram
    gramsPerMilliliter gramsPerLiter milligramsPerLiter microgramsPerLiter gramsPerCubicMeter milligramsPerCubicMeter
    microgramsPerCubicMeter nanogramsPerCubicMeter gramsPerCubicCentimeter becquerels kilobecquerels megabecquerels gray
    milligray microgray sieverts millisieverts microsieverts microsievertsPerHour decibelsA nephelometricTurbidityUnit pH
    gramsPerSquareMeter minutesPerDegreeKelvin ohmMeterPerSquareMeter ampereSeconds voltAmpereHours kilovoltAmpereHours
    megavoltAmpereHours voltAmpereHoursReactive kilovoltAmpereHoursReactive megavoltAmpereHoursReactive voltsSquareHours
    ampereSquareHours joulesPerHours cubicFeetPerDay cubicMetersPerDay wattHoursPerCubicMeter joulesPerCubicMeter molePercent
    pascalSeconds
    millionStandardCubicFeetPerMinute 47808 standardCubicFeetPerDay millionStandardCubicFeetPerDay thousandCubicFeetPerDay
    thousandStandardCubicFeetPerDay poundsMassPerDay 47814 millirems milliremsPerHour
    """
)
"""BACnetEngineeringUnits in camelCase, as `controller_points.units` holds them."""

OBJECT_TYPES = _table(
    """
    0 analogInput analogOutput analogValue binaryInput binaryOutput binaryValue calendar command device eventEnrollment file
    group loop multiStateInput multiStateOutput notificationClass program schedule averaging multiStateValue trendLog
    lifeSafetyPoint lifeSafetyZone accumulator pulseConverter eventLog globalGroup trendLogMultiple loadControl structuredView
    accessDoor timer accessCredential accessPoint accessRights accessUser accessZone credentialDataInput networkSecurity
    bitstringValue characterstringValue datePatternValue dateValue datetimePatternValue datetimeValue integerValue
    largeAnalogValue octetstringValue positiveIntegerValue timePatternValue timeValue notificationForwarder alertEnrollment
    channel lightingOutput binaryLightingOutput networkPort elevatorGroup escalator lift staging auditLog auditReporter
    """
)
"""BACnetObjectType in camelCase."""

PROPERTIES = _table(
    """
    0 ackedTransitions ackRequired action actionText activeText activeVtSessions alarmValue alarmValues all
    allWritesSuccessful apduSegmentTimeout apduTimeout applicationSoftwareVersion archive bias changeOfStateCount
    changeOfStateTime notificationClass 19 controlledVariableReference controlledVariableUnits controlledVariableValue
    covIncrement dateList daylightSavingsStatus deadband derivativeConstant derivativeConstantUnits description
    descriptionOfHalt deviceAddressBinding deviceType effectivePeriod elapsedActiveTime errorLimit eventEnable eventState
    eventType exceptionSchedule faultValues feedbackValue fileAccessMethod fileSize fileType firmwareRevision highLimit
    inactiveText inProcess instanceOf integralConstant integralConstantUnits issueConfirmedNotifications limitEnable
    listOfGroupMembers listOfObjectPropertyReferences listOfSessionKeys localDate localTime location lowLimit
    manipulatedVariableReference maximumOutput maxApduLengthAccepted maxInfoFrames maxMaster maxPresValue minimumOffTime
    minimumOnTime minimumOutput minPresValue modelName modificationDate notifyType numberOfApduRetries numberOfStates
    objectIdentifier objectList objectName objectPropertyReference objectType optional outOfService outputUnits
    eventParameters polarity presentValue priority priorityArray priorityForWriting processIdentifier programChange
    programLocation programState proportionalConstant proportionalConstantUnits 96 protocolObjectTypesSupported
    protocolServicesSupported protocolVersion readOnly reasonForHalt 102 recipientList reliability relinquishDefault required
    resolution segmentationSupported setpoint setpointReference stateText statusFlags systemStatus timeDelay
    timeOfActiveTimeReset timeOfStateCountReset timeSynchronizationRecipients units updateInterval utcOffset vendorIdentifier
    vendorName vtClassesSupported weeklySchedule attemptedSamples averageValue bufferSize clientCovIncrement
    covResubscriptionInterval 130 eventTimeStamps logBuffer logDeviceObjectProperty enable logInterval maximumValue
    minimumValue notificationThreshold 139 protocolRevision recordsSinceNotification recordCount startTime stopTime
    stopWhenFull totalRecordCount validSamples windowInterval windowSamples maximumValueTimestamp minimumValueTimestamp
    varianceValue activeCovSubscriptions backupFailureTimeout configurationFiles databaseRevision directReading
    lastRestoreTime maintenanceRequired memberOf mode operationExpected setting silenced trackingValue zoneMembers
    lifeSafetyAlarmValues maxSegmentsAccepted profileName autoSlaveDiscovery manualSlaveAddressBinding slaveAddressBinding
    slaveProxyEnable lastNotifyRecord scheduleDefault acceptedModes adjustValue count countBeforeChange countChangeTime
    covPeriod inputReference limitMonitoringInterval loggingObject loggingRecord prescale pulseRate scale scaleFactor
    updateTime valueBeforeChange valueSet valueChangeTime alignIntervals 195 intervalOffset lastRestartReason loggingType 202
    restartNotificationRecipients timeOfDeviceRestart timeSynchronizationInterval trigger utcTimeSynchronizationRecipients
    nodeSubtype nodeType structuredObjectList subordinateAnnotations subordinateList actualShedLevel dutyWindow
    expectedShedLevel fullDutyBaseline 218 requestedShedLevel shedDuration shedLevelDescriptions shedLevels stateDescription
    226 doorAlarmState doorExtendedPulseTime doorMembers doorOpenTooLongTime doorPulseTime doorStatus doorUnlockDelayTime
    lockStatus maskedAlarmValues securedStatus 244 absenteeLimit accessAlarmEvents accessDoors accessEvent
    accessEventAuthenticationFactor accessEventCredential accessEventTime accessTransactionEvents accompaniment
    accompanimentTime activationTime activeAuthenticationPolicy assignedAccessRights authenticationFactors
    authenticationPolicyList authenticationPolicyNames authenticationStatus authorizationMode belongsTo credentialDisable
    credentialStatus credentials credentialsInZone daysRemaining entryPoints exitPoints expirationTime extendedTimeEnable
    failedAttemptEvents failedAttempts failedAttemptsTime lastAccessEvent lastAccessPoint lastCredentialAdded
    lastCredentialAddedTime lastCredentialRemoved lastCredentialRemovedTime lastUseTime lockout lockoutRelinquishTime
    masterExemption maxFailedAttempts members musterPoint negativeAccessRules numberOfAuthenticationPolicies occupancyCount
    occupancyCountAdjust occupancyCountEnable occupancyExemption occupancyLowerLimit occupancyLowerLimitEnforced
    occupancyState occupancyUpperLimit occupancyUpperLimitEnforced passbackExemption passbackMode passbackTimeout
    positiveAccessRules reasonForDisable supportedFormats supportedFormatClasses threatAuthority threatLevel traceFlag
    transactionNotificationClass userExternalIdentifier userInformationReference 317 userName userType usesRemaining zoneFrom
    zoneTo accessEventTag globalIdentifier 326 verificationTime baseDeviceSecurityPolicy distributionKeyRevision doNotHide
    keySets lastKeyServer networkAccessSecurityPolicies packetReorderTime securityPDUTimeout securityTimeWindow
    supportedSecurityAlgorithms updateKeySetTimeout backupAndRestoreState backupPreparationTime restoreCompletionTime
    restorePreparationTime bitMask bitText isUTC groupMembers groupMemberNames memberStatusFlags requestedUpdateInterval
    covuPeriod covuRecipients eventMessageTexts eventMessageTextsConfig eventDetectionEnable eventAlgorithmInhibit
    eventAlgorithmInhibitRef timeDelayNormal reliabilityEvaluationInhibit faultParameters faultType localForwardingOnly
    processIdentifierFilter subscribedRecipients portFilter authorizationExemptions allowGroupDelayInhibit channelNumber
    controlGroups executionDelay lastPriority writeStatus propertyList serialNumber blinkWarnEnable defaultFadeTime
    defaultRampRate defaultStepIncrement egressTime inProgress instantaneousPower lightingCommand
    lightingCommandDefaultPriority maxActualValue minActualValue power transition egressActive interfaceValue faultHighLimit
    faultLowLimit lowDiffLimit strikeCount timeOfStrikeCountReset defaultTimeout initialTimeout lastStateChange
    stateChangeValues timerRunning timerState apduLength ipAddress ipDefaultGateway ipDHCPEnable ipDHCPLeaseTime
    ipDHCPLeaseTimeRemaining ipDHCPServer ipDNSServer bacnetIPGlobalAddress bacnetIPMode bacnetIPMulticastAddress
    bacnetIPNATTraversal ipSubnetMask bacnetIPUDPPort bbmdAcceptFDRegistrations bbmdBroadcastDistributionTable
    bbmdForeignDeviceTable changesPending command fdBBMDAddress fdSubscriptionLifetime linkSpeed linkSpeeds
    linkSpeedAutonegotiate macAddress networkInterfaceName networkNumber networkNumberQuality networkType routingTable
    virtualMACAddressTable commandTimeArray currentCommandPriority lastCommandTime valueSource valueSourceArray bacnetIPv6Mode
    ipv6Address ipv6PrefixLength bacnetIPv6UDPPort ipv6DefaultGateway bacnetIPv6MulticastAddress ipv6DNSServer
    ipv6AutoAddressingEnable ipv6DHCPLeaseTime ipv6DHCPLeaseTimeRemaining ipv6DHCPServer ipv6ZoneIndex assignedLandingCalls
    carAssignedDirection carDoorCommand carDoorStatus carDoorText carDoorZone carDriveStatus carLoad carLoadUnits carMode
    carMovingDirection carPosition elevatorGroup energyMeter energyMeterRef escalatorMode faultSignals floorText groupID 467
    groupMode higherDeck installationID landingCalls landingCallControl landingDoorStatus lowerDeck machineRoomID
    makingCarCall nextStoppingFloor operationDirection passengerAlarm powerMode registeredCarCall
    activeCovMultipleSubscriptions protocolLevel referencePort deployedProfileLocation profileLocation tags
    subordinateNodeTypes subordinateTags subordinateRelationships defaultSubordinateRelationship represents
    defaultPresentValue presentStage stages stageNames targetReferences auditSourceReporter auditLevel
    auditNotificationRecipient auditPriorityFilter auditableOperations deleteOnForward maximumSendDelay monitoredObjects
    sendNow floorNumber deviceUUID
    """
)
"""BACnetPropertyIdentifier in camelCase."""

EVENT_STATES = _table(
    """
    0 normal fault offnormal high-limit low-limit life-safety-alarm
    """
)
"""BACnetEventState."""

RELIABILITIES = _table(
    """
    0 no-fault-detected no-sensor over-range under-range open-loop shorted-loop no-output unreliable-other process-error
    multi-state-fault configuration-error 12 communication-failure member-fault monitored-object-fault tripped lamp-failure
    activation-failure renew-dhcp-failure renew-fd-registration-failure restart-auto-negotiation-failure restart-failure
    proprietary-command-failure faults-listed referenced-object-fault multi-state-out-of-range
    """
)
"""BACnetReliability."""

NOTIFY_TYPES = _table(
    """
    0 alarm event ack-notification
    """
)
"""BACnetNotifyType."""

ERROR_CLASSES = _table(
    """
    0 device object property resources security services vt communication
    """
)
"""Error classes (clause 18)."""

ERROR_CODES = _table(
    """
    0 other 2 configuration-in-progress device-busy dynamic-creation-not-supported file-access-denied 7
    inconsistent-parameters inconsistent-selection-criterion invalid-data-type invalid-file-access-method
    invalid-file-start-position 13 invalid-parameter-data-type invalid-time-stamp 16 missing-required-parameter
    no-objects-of-specified-type no-space-for-object no-space-to-add-list-element no-space-to-write-property
    no-vt-sessions-available property-is-not-a-list object-deletion-not-permitted object-identifier-already-exists
    operational-problem password-failure read-access-denied 29 service-request-denied timeout unknown-object unknown-property
    34 unknown-vt-class unknown-vt-session unsupported-object-type value-out-of-range vt-session-already-closed
    vt-session-termination-failure write-access-denied character-set-not-supported invalid-array-index cov-subscription-failed
    not-cov-property optional-functionality-not-supported invalid-configuration-data datatype-not-supported duplicate-name
    duplicate-object-id property-is-not-an-array abort-buffer-overflow abort-invalid-apdu-in-this-state
    abort-preempted-by-higher-priority-task abort-segmentation-not-supported abort-proprietary abort-other invalid-tag
    network-down reject-buffer-overflow reject-inconsistent-parameters reject-invalid-parameter-data-type reject-invalid-tag
    reject-missing-required-parameter reject-parameter-out-of-range reject-too-many-arguments reject-undefined-enumeration
    reject-unrecognized-service reject-proprietary reject-other unknown-device unknown-route value-not-initialized
    invalid-event-state no-alarm-configured log-buffer-full logged-value-purged no-property-specified
    not-configured-for-triggered-logging unknown-subscription parameter-out-of-range list-element-not-found busy
    communication-disabled success access-denied bad-destination-address bad-destination-device-id bad-signature
    bad-source-address bad-timestamp cannot-use-key cannot-verify-message-id correct-key-revision
    destination-device-id-required duplicate-message encryption-not-configured encryption-required incorrect-key
    invalid-key-data key-update-in-progress malformed-message not-key-server security-not-configured source-security-required
    too-many-keys unknown-authentication-type unknown-key unknown-key-revision unknown-source-message not-router-to-dnet
    router-busy unknown-network-message message-too-long security-error addressing-error write-bdt-failed read-bdt-failed
    register-foreign-device-failed read-fdt-failed delete-fdt-entry-failed distribute-broadcast-failed unknown-file-size
    abort-apdu-too-long abort-application-exceeded-reply-time abort-out-of-resources abort-tsm-timeout
    abort-window-size-out-of-range file-full inconsistent-configuration inconsistent-object-type internal-error not-configured
    out-of-memory value-too-long abort-insufficient-security abort-security-error duplicate-entry invalid-value-in-this-state
    140 list-item-not-numbered list-item-not-timestamped invalid-data-encoding bvlc-function-unknown
    bvlc-proprietary-function-unknown header-encoding-error header-not-understood message-incomplete not-a-bacnet-sc-hub
    payload-expected unexpected-data node-duplicate-vmac http-unexpected-response-code http-no-upgrade http-resource-not-local
    http-proxy-authentication-failed http-response-timeout http-response-syntax-error http-response-value-error
    http-response-missing-header http-websocket-header-error http-upgrade-required http-upgrade-error
    http-temporary-unavailable http-not-a-server http-error websocket-scheme-not-supported websocket-unknown-control-message
    websocket-close-error websocket-closed-by-peer websocket-endpoint-leaves websocket-protocol-error
    websocket-data-not-accepted websocket-closed-abnormally websocket-data-inconsistent websocket-data-against-policy
    websocket-frame-too-long websocket-extension-missing websocket-request-unavailable websocket-error
    tls-client-certificate-error tls-server-certificate-error tls-client-authentication-failed
    tls-server-authentication-failed tls-client-certificate-expired tls-server-certificate-expired
    tls-client-certificate-revoked tls-server-certificate-revoked tls-error dns-unavailable dns-name-resolution-failed
    dns-resolver-failure dns-error tcp-connect-timeout tcp-connection-refused tcp-closed-by-local tcp-closed-other tcp-error
    ip-address-not-reachable ip-error
    """
)
"""Error codes (clause 18)."""

REJECT_REASONS = _table(
    """
    0 other buffer-overflow inconsistent-parameters invalid-parameter-data-type invalid-tag missing-required-parameter
    parameter-out-of-range too-many-arguments undefined-enumeration unrecognized-service
    """
)
"""BACnetRejectReason."""

ABORT_REASONS = _table(
    """
    0 other buffer-overflow invalid-apdu-in-this-state preempted-by-higher-priority-task segmentation-not-supported
    security-error insufficient-security window-size-out-of-range application-exceeded-reply-time out-of-resources tsm-timeout
    apdu-too-long
    """
)
"""BACnetAbortReason."""
